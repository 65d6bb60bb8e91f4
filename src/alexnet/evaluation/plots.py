"""The figures of a report: curves of a run and the kernels of the first layer.

Every function makes a matplotlib figure of its own, without pyplot and so without global state;
matplotlib itself is imported when the first figure is drawn. `svg` turns a figure into markup that
takes its colours from the page it stands in, light or dark, and never holds a text of the user's.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
Row = Mapping[str, Any]  # one line of metrics.jsonl

# Okabe and Ito's colours for all kinds of colour vision; the lines differ in their marks as well.
_INK, _MUTED, _RULE = "#1b1f24", "#5b6570", "#d5dae0"
_TRAIN, _VALIDATION = "#0072b2", "#d55e00"
_PAGE_COLORS = {
    _INK: "--ink",
    _MUTED: "--muted",
    _RULE: "--rule",
    _TRAIN: "--blue",
    _VALIDATION: "--orange",
}

_MAX_POINTS = 400  # a line on the page; longer series are averaged in bins
_LOG_SCALE_FROM = 20.0  # ratio of the largest to the smallest value
_CURVE_SIZE = (5.7, 3.0)  # inches
_SMALL_CURVE_SIZE = (5.7, 1.8)
_KERNEL_SIDE = 0.69  # inches


@dataclass(frozen=True)
class Series:
    """One measured quantity over the run: steps (N,), values (N,) with NaN where there is none."""

    steps: FloatArray
    values: FloatArray


def series(rows: Sequence[Row], split: str, key: str) -> Series:
    """The quantity `key` of the rows of one split; missing and infinite values become NaN."""
    chosen = sorted((row for row in rows if row["split"] == split), key=lambda row: row["step"])
    values = np.array([_number(row.get(key)) for row in chosen], dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    return Series(np.array([row["step"] for row in chosen], dtype=np.float64), values)


def loss_figure(rows: Sequence[Row], classes: int) -> "Figure":
    """Training and validation loss over the steps, with the loss of a guess among the classes."""
    figure, axes = _figure(_CURVE_SIZE, "loss (cross-entropy)")
    _draw_splits(axes, rows, "loss")
    _choose_scale(axes, rows, "loss")
    guess = math.log(classes)
    _make_room(axes, guess)
    axes.axhline(guess, color=_MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.annotate(
        f"guessing: ln({classes}) = {guess:.2f}",
        (1.0, guess),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 2),
        textcoords="offset points",
        ha="right",
        fontsize=7.5,
        color=_MUTED,
    )
    return _finish(figure, axes, rows)


def error_figure(rows: Sequence[Row]) -> "Figure":
    """Training and validation top-1 error over the steps, in percent."""
    figure, axes = _figure(_CURVE_SIZE, "top-1 error (%)")
    _draw_splits(axes, rows, "top1_error", scale=100.0)
    highest = max((np.nanmax(s.values) for s in _measured(rows, "top1_error")), default=1.0)
    axes.set_ylim(0.0, min(105.0, max(1.0, 110.0 * highest)))
    return _finish(figure, axes, rows)


def learning_rate_figure(rows: Sequence[Row]) -> "Figure":
    """The learning rate over the steps."""
    figure, axes = _figure(_SMALL_CURVE_SIZE, "learning rate")
    _draw(axes, series(rows, "train", "learning_rate"), _TRAIN, "training")
    _choose_scale(axes, rows, "learning_rate")
    return _finish(figure, axes, rows, legend=False)


def speed_figure(rows: Sequence[Row]) -> "Figure":
    """Training images per second over the steps."""
    figure, axes = _figure(_SMALL_CURVE_SIZE, "images per second")
    _draw(axes, series(rows, "train", "images_per_second"), _TRAIN, "training")
    measured = _measured(rows, "images_per_second")
    axes.set_ylim(0.0, max((1.15 * float(np.nanmax(s.values)) for s in measured), default=1.0))
    return _finish(figure, axes, rows, legend=False)


def kernels_figure(kernels: npt.NDArray[np.floating[Any]], columns: int) -> "Figure":
    """The kernels of the first layer as pictures, one panel for each column of the network.

    Args:
        kernels: (K, 3, h, w) weights, stored as [column a | column b | ...].
        columns: how many columns the network has; divides K.

    Raises:
        ValueError: the kernels do not divide into that many columns.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if len(kernels) % columns:
        raise ValueError(f"{len(kernels)} kernels do not divide into {columns} columns")
    mosaics = [kernel_mosaic(column) for column in np.split(np.asarray(kernels), columns)]
    height, width = mosaics[0].shape[:2]  # pixels
    inch = kernels.shape[3] / _KERNEL_SIDE  # pixels
    figure = Figure(
        figsize=(columns * width / inch + 0.2, height / inch + 0.35),
        layout=ConstrainedLayoutEngine(wspace=0.03),
    )
    figure.patch.set_alpha(0.0)
    panels = figure.subplots(1, columns, squeeze=False)[0]
    for index, (axes, mosaic) in enumerate(zip(panels, mosaics, strict=True)):
        axes.imshow(mosaic, interpolation="none")
        axes.set_title(_column_name(index, columns), fontsize=10, color=_INK)
        axes.set_axis_off()
    return figure


def kernel_mosaic(kernels: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Kernels (K, 3, h, w) side by side, one pixel a weight: (H, W, 4) RGBA with clear gaps.

    Each kernel is divided by its own largest absolute weight, over all three colours: zero is
    mid-grey, so kernels that ignore colour look grey, and strong and weak kernels show alike.
    """
    count, _, height, width = kernels.shape
    weights = np.nan_to_num(np.asarray(kernels, dtype=np.float64), posinf=0.0, neginf=0.0)
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    scaled = weights / np.where(largest > 0.0, largest, 1.0)  # in [-1, 1]
    pictures = np.rint(127.5 + 127.5 * scaled).astype(np.uint8).transpose(0, 2, 3, 1)

    across = math.ceil(math.sqrt(count * 4 / 3))  # 48 kernels: 8 x 6, as in Figure 3
    down = math.ceil(count / across)
    mosaic = np.zeros((down * (height + 1) - 1, across * (width + 1) - 1, 4), dtype=np.uint8)
    for index, picture in enumerate(pictures):
        top, left = (index // across) * (height + 1), (index % across) * (width + 1)
        mosaic[top : top + height, left : left + width, :3] = picture
        mosaic[top : top + height, left : left + width, 3] = 255
    return mosaic


def svg(figure: "Figure", name: str, description: str) -> str:
    """The figure as an `<svg>` element to stand inside a page.

    Colours become the page's custom properties (with the printed ones as fallback), texts stay
    texts, and the same figure always gives the same markup.

    Args:
        figure: what to draw.
        name: unique in the page; keeps the identifiers of different figures apart.
        description: what a reader who cannot see the figure is told; plain ASCII, no markup.
    """
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    markup = stream.getvalue()
    markup = markup[markup.index("<svg") :]
    body = markup[markup.index(">") + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)  # nothing refers to groups
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    for color, variable in _PAGE_COLORS.items():
        body = body.replace(color, f"var({variable}, {color})")
    width, height = (72.0 * inches for inches in figure.get_size_inches())  # points
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width: {width:g}pt" role="img" '
        f'aria-label="{description}">{body}'
    )


def _figure(size: tuple[float, float], label: str) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.patch.set_alpha(0.0)
    axes = figure.subplots()
    axes.patch.set_alpha(0.0)
    axes.set_title(label, loc="left", fontsize=9, color=_INK)
    axes.grid(visible=True, axis="y", color=_RULE, linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_MUTED)
    axes.tick_params(which="both", labelsize=8, colors=_MUTED, length=2.5)
    axes.tick_params(which="both", axis="y", length=0)
    return figure, axes


def _finish(
    figure: "Figure", axes: "Axes", rows: Sequence[Row], *, legend: bool = True
) -> "Figure":
    """Label the steps below, mark the epochs above, name the lines."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.set_xlabel("step", fontsize=8, color=_MUTED, loc="right", labelpad=1)
    last = max((row["step"] for row in rows), default=1)
    axes.set_xlim(0, 1.02 * max(last, 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    marks = _epoch_marks(rows)
    if len(marks) > 1:
        epochs = axes.secondary_xaxis("top")
        epochs.spines["top"].set_visible(False)
        epochs.set_xticks([*marks.values()], [*map(str, marks)])
        epochs.tick_params(labelsize=7, colors=_MUTED, length=2.5, pad=1)
        axes.annotate(
            "epoch",
            (0.0, 1.0),
            xycoords="axes fraction",
            xytext=(0, 3.5),
            textcoords="offset points",
            fontsize=7,
            color=_MUTED,
        )
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, labelcolor=_INK, loc="best")
    return figure


def _draw_splits(axes: "Axes", rows: Sequence[Row], key: str, scale: float = 1.0) -> None:
    for split, color, name in (("train", _TRAIN, "training"), ("val", _VALIDATION, "validation")):
        measured = series(rows, split, key)
        _draw(axes, Series(measured.steps, scale * measured.values), color, name)


def _draw(axes: "Axes", measured: Series, color: str, name: str) -> None:
    if not np.isfinite(measured.values).any():
        return
    thinned, low, high = _thin(measured)
    if len(thinned.steps) < len(measured.steps):
        axes.fill_between(thinned.steps, low, high, color=color, alpha=0.18, linewidth=0)
    few = np.isfinite(thinned.values).sum() <= 60
    mark = {"training": ".", "validation": "o"}[name] if few else ""
    axes.plot(
        thinned.steps,
        thinned.values,
        color=color,
        label=name,
        marker=mark,
        markersize=4,
        linewidth=1.3,
    )


def _thin(measured: Series) -> tuple[Series, FloatArray, FloatArray]:
    """At most _MAX_POINTS bins: means of the values that are numbers, and their range."""
    bins = np.array_split(np.arange(len(measured.steps)), min(len(measured.steps), _MAX_POINTS))
    steps = np.array([measured.steps[b].mean() for b in bins])
    numbers = [measured.values[b][np.isfinite(measured.values[b])] for b in bins]
    mean, low, high = (
        np.array([summary(v) if len(v) else np.nan for v in numbers])
        for summary in (np.mean, np.min, np.max)
    )
    return Series(steps, mean), low, high


def _choose_scale(axes: "Axes", rows: Sequence[Row], key: str) -> None:
    """Logarithmic where the values span more than a linear axis could show, else from zero."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    measured = _measured(rows, key)
    values = np.concatenate([s.values[np.isfinite(s.values)] for s in measured] or [np.ones(1)])
    if values.min() > 0.0 and values.max() / values.min() > _LOG_SCALE_FROM:
        decades = math.log10(values.max() / values.min())
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 3.0 else (1.0,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0.0)


def _make_room(axes: "Axes", level: float) -> None:
    """Stretch the axis so that a line at `level` has room for a word above it."""
    low, high = axes.get_ylim()
    stretched = level * ((high / low) ** 0.12 if axes.get_yscale() == "log" else 1.12)
    axes.set_ylim(top=max(high, stretched))


def _measured(rows: Sequence[Row], key: str) -> list[Series]:
    both = [series(rows, split, key) for split in ("train", "val")]
    return [s for s in both if np.isfinite(s.values).any()]


def _epoch_marks(rows: Sequence[Row], most: int = 10) -> dict[int, float]:
    """The step that ends each whole epoch, for at most so many evenly spaced epochs."""
    ends = [(row["step"], _number(row.get("epoch"))) for row in rows]
    step, epochs = max(((s, e) for s, e in ends if math.isfinite(e) and e > 0), default=(0, 0.0))
    strides = (digit * 10**power for power in range(12) for digit in (1, 2, 5))
    stride = next(stride for stride in strides if epochs <= stride * most)
    return {end: end * step / epochs for end in range(stride, int(epochs) + 1, stride)}


def _column_name(index: int, columns: int) -> str:
    return "all kernels" if columns == 1 else f"column {chr(ord('a') + index)}"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
