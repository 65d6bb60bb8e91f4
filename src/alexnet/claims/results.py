"""Result files: one JSON document for each claim and scale, complete enough to be believed."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alexnet.claims.claim import Claim, Finding, Measured, Quantity, Setting
from alexnet.files import read_json, write_text

FORMAT = "alexnet-claim-1"
_LEFT_OUT = ("curve",)  # of single runs: long, and in their metrics.jsonl


def write_result(
    path: Path,
    claim: Claim,
    setting: Setting,
    measured: Measured,
    finding: Finding,
    images: dict[str, Any],
    environment: dict[str, Any],
    complete: bool,
) -> dict[str, Any]:
    """Write the result so far and return its document.

    Args:
        path: of the file.
        claim, setting, measured, finding: what was asked, done and found.
        images: how many were trained on and held out, and of how many classes.
        environment: with what the runs were made.
        complete: whether all runs are done that the claim wants.

    Raises:
        CannotWriteError: it cannot be written; an old one is untouched.
    """
    document = {
        "format": FORMAT,
        "claim": claim.name,
        "section": claim.section,
        "scale": setting.scale.name,
        "data": Path(setting.data).name,
        "images": images,
        "paper": claim.paper,
        "logs": claim.logs,
        "verdict": finding.verdict,
        "complete": complete,
        "quantities": [asdict(quantity) for quantity in finding.quantities],
        "notes": list(finding.notes),
        "runs": [
            {"arm": arm, "seed": seed, **{k: v for k, v in values.items() if k not in _LEFT_OUT}}
            for (arm, seed), values in sorted(measured.items())
        ],
        "environment": environment,
        "date": environment["date"],
    }
    text = json.dumps(document, indent=1) + "\n"
    write_text(path, text)
    return dict(json.loads(text))


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Every result file in a folder, by name."""
    documents = [read_json(path) for path in sorted(folder.glob("*.json"))]
    return [document for document in documents if document.get("format") == FORMAT]


def result_lines(document: dict[str, Any]) -> list[str]:
    """A result for a terminal: what the paper says, the logs say, we measured."""
    lines = [
        f"{document['claim']} ({document['scale']}, {document['data']}), section "
        f"{document['section']}",
        f"  the paper says         {document['paper']}",
        f"  the authors' logs say  {document['logs']}",
        f"  we find                {document['verdict']}",
        "",
        f"  {'':<58}{'paper':>9}{'logs':>9}  measured",
    ]
    for row in document["quantities"]:
        quantity = Quantity(**{**row, "values": tuple(row["values"])})
        published = "".join(
            f"{'-' if number is None else f'{number:g}':>9}"
            for number in (quantity.paper, quantity.logs)
        )
        lines.append(f"  {quantity.name:<58}{published}  {measured_in_words(quantity)}")
    return [*lines, "", *(f"  {note}" for note in document["notes"])]


def measured_in_words(quantity: Quantity) -> str:
    """Ours with interval, spread and seeds."""
    if quantity.mean is None:
        return "not measured"
    parts = [f"{number(quantity.mean)} {quantity.unit}"]
    if quantity.low is not None and quantity.high is not None:
        parts.append(f"({number(quantity.low)} to {number(quantity.high)})")
    if quantity.spread is not None:
        parts.append(f"± {number(quantity.spread)}")
    seeds = "seed" if quantity.seeds == 1 else "seeds"
    return " ".join([*parts, f"[{quantity.seeds} {seeds}]"])


def number(value: float) -> str:
    """Three figures that matter, never an exponent."""
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
