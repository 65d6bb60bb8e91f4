"""The report of a run: one HTML page that opens offline and says what was measured, and how.

This file decides what the page says; `templates/report.html` how it looks; `plots` draws.
"""

import base64
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from PIL import Image

from alexnet.evaluation import plots
from alexnet.evaluation.class_groups import confused_groups
from alexnet.evaluation.metrics import wilson_interval
from alexnet.files import write_atomically

LARGEST_MATRIX = 40  # classes; beyond, pairs and groups take the place of the full table
_MOST_GROUPS = 32
_MOST_PAIRS = 25
_MOST_MISTAKES = 24
_PICTURE_SIDE = 160  # pixels
_SMALLEST_PICTURE_SIDE = 96  # smaller pictures are enlarged in whole steps, unsmoothed


@dataclass(frozen=True)
class Mistake:
    """One image that was named wrongly."""

    key: str  # where the image came from
    label: str
    predicted: str
    probability: float  # of the predicted class
    pixels: npt.NDArray[np.uint8]  # (H, W, 3) RGB


@dataclass(frozen=True)
class ReportInput:
    """Everything a report tells. Errors and interval ends are fractions."""

    title: str
    config: Mapping[str, Any]  # config.json, parsed
    environment: Mapping[str, Any]
    metrics: list[dict[str, Any]]  # the rows of metrics.jsonl
    classes: tuple[str, ...]
    confusion: npt.NDArray[np.int64]  # (C, C) counts, rows true, columns predicted
    images: int
    views: int
    top1_error: float
    top5_error: float
    top1_error_interval: tuple[float, float]  # Wilson, 95 %
    top5_error_interval: tuple[float, float]
    loss: float
    mistakes: list[Mistake]
    kernels: npt.NDArray[np.floating[Any]]  # (K, 3, h, w) weights of conv1, column by column
    columns: int
    parameters: int
    notes: list[str]  # choices made and their reasons, warnings


def write_report(path: Path, report: ReportInput) -> None:
    """Write the page; one that stood there before is replaced in one step or not at all.

    Raises:
        CannotWriteError: the disk is full or the place not writable.
    """
    # Names of files may hold bytes that are no text; they show as \udcff instead of failing.
    page = render_report(report).encode("utf-8", "backslashreplace")

    def write(temporary: Path) -> None:
        temporary.write_bytes(page)

    write_atomically(path, write)


def render_report(report: ReportInput) -> str:
    """The page as text; the same input gives the same page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("alexnet.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    decimals = 1 if report.images < 10_000 else 2
    environment.filters |= {
        "percent": lambda fraction: _percent(fraction, decimals),
        "percentage": lambda fraction: _percent(fraction, 1),
        "count": lambda number: f"{number:,}",
        "decimal": lambda number: f"{number:.4g}" if math.isfinite(number) else "not a number",
        "shorten": _shorten,
        "setting": _setting,
    }
    small = len(report.classes) <= LARGEST_MATRIX
    return environment.get_template("report.html").render(
        report=report,
        verdict=_verdict(report),
        warnings=_warnings(report.metrics),
        curves=_curves(report),
        speed=_speed(report.metrics),
        matrix=_matrix(report.confusion) if small else None,
        pairs=None if small else _pairs(report.confusion),
        groups=None if small else _groups(report.confusion),
        class_rows=_class_rows(report.confusion),
        mistakes=_worst(report.mistakes),
        kernels=_kernels(report),
        config=_sections(report.config),
        facts=_flat(report.environment),
    )


# What the page says first


def _verdict(report: ReportInput) -> str:
    """The result in one sentence, against the best one can do without looking at the images."""
    if not math.isfinite(report.loss):
        return (
            "The network's answers are not numbers: training went wrong and no rate below counts."
        )
    largest_class = int(report.confusion.sum(axis=1).max(initial=0))
    blind_error = 1.0 - largest_class / max(int(report.confusion.sum()), 1)
    blind = f"always answering the commonest class is wrong on {_percent(blind_error, 1)}"
    low, high = report.top1_error_interval
    if high < blind_error:
        right = _percent(1.0 - report.top1_error, 1)
        return f"The network names {right} of the images correctly; {blind}."
    if low <= blind_error:
        return f"The network is not measurably better than guessing: {blind}."
    return f"The network is worse than guessing: {blind}."


def _warnings(rows: list[dict[str, Any]]) -> list[str]:
    """What the metrics give away about the run."""
    losses = plots.series(rows, "train", "loss")
    broken = losses.steps[~np.isfinite(losses.values)]
    if len(broken) == 0:
        return []
    return [
        f"The training loss is not a number in {len(broken)} of {len(losses.steps)} logged "
        f"training rows, first at step {broken[0]:,.0f}; the curves leave these steps out."
    ]


# Curves and kernels


def _curves(report: ReportInput) -> list[str]:
    """The curves as markup, without any text of the user's, so the template takes it as safe."""
    if not report.metrics:
        return []
    rows = report.metrics
    chance = max(len(report.classes), 2)
    figures = {
        "loss": plots.loss_figure(rows, chance),
        "error": plots.error_figure(rows),
        "rate": plots.learning_rate_figure(rows),
        "speed": plots.speed_figure(rows),
    }
    told = {
        "loss": "Training and validation loss over the steps",
        "error": "Training and validation top-1 error over the steps",
        "rate": "Learning rate over the steps",
        "speed": "Training images per second over the steps",
    }
    return [plots.svg(figure, name, told[name]) for name, figure in figures.items()]


def _speed(rows: list[dict[str, Any]]) -> dict[str, float] | None:
    """Medians of the logged training speed and of the share of time spent waiting for data."""
    medians = {}
    for key in ("images_per_second", "data_wait_fraction"):
        values = plots.series(rows, "train", key).values
        values = values[np.isfinite(values)]
        if len(values) == 0:
            return None
        medians[key] = float(np.median(values))
    return medians


def _kernels(report: ReportInput) -> str:
    count, _, height, width = report.kernels.shape
    told = f"The {count} kernels of the first layer, {height} by {width} pixels each"
    return plots.svg(plots.kernels_figure(report.kernels, report.columns), "kernels", told)


# Confusion


@dataclass(frozen=True)
class _Cell:
    """One cell of a heat map: how many images, and how strongly it is coloured (0 to 1)."""

    count: int
    strength: float
    correct: bool = False


def _matrix(confusion: npt.NDArray[np.int64]) -> list[list[_Cell]]:
    """Every count; coloured by its share of the true class, mistakes by the share's root."""
    shares = _shares(confusion, confusion.sum(axis=1))
    return [
        [
            _Cell(int(count), float(shares[i, j] if i == j else np.sqrt(shares[i, j])), i == j)
            for j, count in enumerate(row)
        ]
        for i, row in enumerate(confusion)
    ]


@dataclass(frozen=True)
class _Pair:
    """Images of one class taken for another; classes by index."""

    label: int
    predicted: int
    count: int
    images: int  # of the true class
    reverse: int  # images of `predicted` taken for `label`


def _pairs(confusion: npt.NDArray[np.int64]) -> list[_Pair]:
    """The most frequent confusions, by count, then by share of the true class, then by index."""
    mistakes = _mistakes(confusion)
    images = confusion.sum(axis=1)
    label, predicted = np.nonzero(mistakes)
    count = mistakes[label, predicted]
    order = np.lexsort((predicted, label, images[label], -count))[:_MOST_PAIRS]
    return [
        _Pair(i, j, int(mistakes[i, j]), int(images[i]), int(mistakes[j, i]))
        for i, j in zip(label[order].tolist(), predicted[order].tolist(), strict=True)
    ]


@dataclass(frozen=True)
class _Groups:
    """Classes in groups that are taken for one another, and the mistakes between the groups."""

    members: list[list[int]]  # class indices, the most often confused within the group first
    cells: list[list[_Cell]]  # mistakes only
    images: list[int]
    inside: float  # share of all mistakes that stay inside a group
    expected: float  # the same if mistakes fell on the other classes evenly


def _groups(confusion: npt.NDArray[np.int64]) -> _Groups | None:
    """None where there is no mistake to order the classes by."""
    mistakes = _mistakes(confusion)
    total = int(mistakes.sum())
    if total == 0:
        return None
    classes = len(confusion)
    count = min(_MOST_GROUPS, 2 ** math.ceil(math.log2(math.sqrt(classes))))
    members = confused_groups(confusion, count)
    for group in members:
        inside = mistakes[np.ix_(group, group)]
        tied = dict(zip(group, (inside.sum(axis=0) + inside.sum(axis=1)).tolist(), strict=True))
        group.sort(key=lambda index: (-tied[index], index))

    of_class = np.zeros((classes, count), dtype=np.int64)  # membership, one 1 in each row
    for number, group in enumerate(members):
        of_class[group, number] = 1
    between = of_class.T @ mistakes @ of_class  # (count, count)
    images = confusion.sum(axis=1) @ of_class  # (count,)
    strength = np.sqrt(_shares(between, images))
    cells = [
        [_Cell(int(between[i, j]), float(strength[i, j])) for j in range(count)]
        for i in range(count)
    ]
    sizes = of_class.sum(axis=0)
    others = mistakes.sum(axis=1) @ of_class * (sizes - 1) / (classes - 1)
    return _Groups(
        members,
        cells,
        images.tolist(),
        inside=float(np.trace(between)) / total,
        expected=float(others.sum()) / total,
    )


@dataclass(frozen=True)
class _ClassRow:
    """One class in the table; classes by index."""

    index: int
    images: int
    mistakes: int
    error: float | None  # None without images
    interval: tuple[float, float] | None
    confused_with: int | None
    confused_count: int


def _class_rows(confusion: npt.NDArray[np.int64]) -> list[_ClassRow]:
    """The classes, those with the highest error first, those without images last."""
    mistakes = _mistakes(confusion)
    rows = []
    for index, (row, images) in enumerate(zip(mistakes, confusion.sum(axis=1), strict=True)):
        wrong, worst = int(row.sum()), int(row.argmax())
        rows.append(
            _ClassRow(
                index,
                int(images),
                wrong,
                wrong / int(images) if images else None,
                wilson_interval(wrong / int(images), int(images)) if images else None,
                worst if wrong else None,
                int(row[worst]),
            )
        )
    return sorted(rows, key=lambda row: (1.0 if row.error is None else -row.error, row.index))


def _mistakes(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return confusion - np.diag(np.diag(confusion))


def _shares(
    counts: npt.NDArray[np.int64], images: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    return counts / np.maximum(images, 1)[:, None]


# Pictures


@dataclass(frozen=True)
class _Picture:
    """A mistake as the page shows it."""

    mistake: Mistake
    source: str  # data URI
    width: int
    height: int


def _worst(mistakes: list[Mistake]) -> list[_Picture]:
    """The mistakes the network was surest of."""
    surest = sorted(mistakes, key=lambda mistake: -mistake.probability)[:_MOST_MISTAKES]
    return [_picture(mistake) for mistake in surest]


def _picture(mistake: Mistake) -> _Picture:
    image = Image.fromarray(np.ascontiguousarray(mistake.pixels, dtype=np.uint8))
    image.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
    enlarge = _SMALLEST_PICTURE_SIDE // max(image.size)
    if enlarge > 1:
        size = (image.width * enlarge, image.height * enlarge)
        image = image.resize(size, Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85, optimize=True)
    source = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    return _Picture(mistake, source, image.width, image.height)


# Words and numbers


def _sections(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sections of settings; settings that stand outside a section come first, under "run"."""
    loose = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    sections = {key: dict(value) for key, value in config.items() if isinstance(value, Mapping)}
    return ({"run": loose} if loose else {}) | sections


def _flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested facts as dotted names."""
    flat: dict[str, Any] = {}
    for key, value in facts.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _percent(fraction: float | None, decimals: int) -> str:
    if fraction is None or not math.isfinite(fraction):
        return "–"
    return f"{100.0 * fraction:.{decimals}f}\u00a0%"  # no line ends between number and unit


def _shorten(text: str, width: int = 32) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"
