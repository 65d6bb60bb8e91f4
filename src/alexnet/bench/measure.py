"""How speeds are measured: all contenders in turn, several rounds, medians and ratios.

Absolute times drift on shared machines; a ratio of two contenders that ran side by side does not.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alexnet.files import write_text
from alexnet.progress import say

Contender = Callable[[], float]
"""Does its work once and returns the figure measured, such as images per second."""


@dataclass(frozen=True)
class Share:
    """What a row is set against: a ceiling's row, and what one unit of the figure costs of it."""

    ceiling: str
    cost: float  # such as operations for one image, where the ceiling is in operations a second


@dataclass(frozen=True)
class Row:
    """One figure of a result file.

    Attributes:
        name: WHAT/WHO.
        value: the median of the rounds.
        low, high: the smallest and the largest.
        ratios: the value over those of other rows, by name, as medians of the rounds' ratios;
            over a ceiling's, the share of it that is used.
        how: precision and form, in words.
    """

    name: str
    value: float
    unit: str
    low: float
    high: float
    ratios: dict[str, float] = field(default_factory=dict)
    how: str = ""


def interleaved(
    contenders: Mapping[str, Contender],
    rounds: int,
    unit: str | Mapping[str, str],
    against: Sequence[str] = (),
    shares: Mapping[str, Share] | None = None,
    how: Mapping[str, str] | None = None,
) -> list[Row]:
    """Run every contender once a round, after one round that does not count.

    Args:
        contenders: by name of the row.
        rounds: that count.
        unit: of every figure, or of each by name.
        against: the names whose ratios the other rows get.
        shares: by name of the row, the ceiling that it gets its share of.
        how: by name of the row, precision and form in words.
    """
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            figure = contender()
            if number:
                figures[name].append(figure)
    rows = []
    for name, values in figures.items():
        ratios = {
            other: _ratio(values, figures[other])
            for other in against
            if other != name and other in figures and (shares is None or name in shares)
        }
        share = (shares or {}).get(name)
        if share and share.ceiling in figures:
            ratios[share.ceiling] = share.cost * _ratio(values, figures[share.ceiling])
        own_unit = unit if isinstance(unit, str) else unit[name]
        rows.append(row(name, values, own_unit, ratios, (how or {}).get(name, "")))
        say(_line(rows[-1]))
    return rows


def _ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(values, others, strict=True))


def row(
    name: str,
    values: Sequence[float],
    unit: str,
    ratios: Mapping[str, float] | None = None,
    how: str = "",
) -> Row:
    """The row of some measured values."""
    median = statistics.median(values)
    return Row(name, median, unit, min(values), max(values), dict(ratios or {}), how)


def check_place(out: Path) -> None:
    """Make the folder of the results and write there: an error comes before the work.

    Raises:
        OSError: one that names the place.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out) as file:
        file.write(b"as much as nothing")


def write_results(
    rows: Sequence[Row], what: str, environment: Mapping[str, Any], out: Path
) -> Path:
    """Write WHAT_PROCESSOR_DATE.json and .md into `out`; returns the path of the JSON file."""
    date = datetime.now(UTC).date().isoformat()
    hardware = (
        environment["device"]
        if environment["device"] != "cpu"
        else f"{environment['processor']} {environment['vectors']}"  # one name, several makes
    )
    slug = "-".join("".join(c if c.isalnum() else " " for c in str(hardware).lower()).split())
    name = f"{what}_{slug}-{environment['cores']}-cores_{date}"
    document = {
        "date": date,
        "command": " ".join(["alexnet", *sys.argv[1:]]),
        "environment": dict(environment),
        "rows": [asdict(entry) for entry in rows],
    }
    path = out / f"{name}.json"
    write_text(path, json.dumps(document, indent=2) + "\n")
    write_text(out / f"{name}.md", _page(document, rows))
    return path


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as a Markdown table."""
    lines = [
        "| row | median | low | high | unit | how | ratios |",
        "|---|---:|---:|---:|---|---|---|",
    ]
    for entry in rows:
        ratios = ", ".join(f"{value:.2f}x {name}" for name, value in entry.ratios.items())
        figures = " | ".join(_figure(value) for value in (entry.value, entry.low, entry.high))
        lines.append(f"| {entry.name} | {figures} | {entry.unit} | {entry.how} | {ratios} |")
    return lines


def _page(document: Mapping[str, Any], rows: Sequence[Row]) -> str:
    environment = document["environment"]
    facts = ", ".join(
        f"{key} {environment[key]}" for key in ("processor", "vectors", "cores", "device")
    )
    versions = ", ".join(f"{key} {environment[key]}" for key in ("python", "torch", "pillow"))
    head = [f"# {document['date']}: `{document['command']}`", "", facts, "", versions, ""]
    return "\n".join([*head, *table(rows)]) + "\n"


def _line(entry: Row) -> str:
    ratios = ", ".join(f"{value:.2f}x {name}" for name, value in entry.ratios.items())
    return f"{entry.name}: {_figure(entry.value)} {entry.unit}  {ratios}".rstrip()


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
