"""Figure 3: the kernels of the first layer, column by column, and how much each is about colour."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alexnet.evaluation.kernels import color_selectivity, compare_columns
from alexnet.figures.style import BLUE, INK, MUTED, ORANGE, mosaic, new_figure, plain, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACROSS = 8  # kernels in a row of a column's panel: 48 are 8 x 6, as in the paper
_RANDOM = 2 / 3  # of independent weights
_SERIES = (("column a", BLUE, "o"), ("column b", ORANGE, "s"))


def kernels_figure(kernels: npt.NDArray[np.floating[Any]], columns: int) -> "Figure":
    """All kernels (K, 3, h, w) in panels by column, a bar below each for its colour selectivity."""
    groups = np.split(np.asarray(kernels, dtype=np.float64), columns)
    rows = -(-len(groups[0]) // _ACROSS)
    figure = new_figure(5.0 * columns, 0.72 * rows + 0.4)
    panels = figure.subplots(1, columns, squeeze=False)[0]
    for index, (axes, group) in enumerate(zip(panels, groups, strict=True)):
        values = color_selectivity(group)
        side = group.shape[-1]
        below = max(1, side // 4)
        pictures = np.stack([kernel_picture(kernel) for kernel in group])
        whole, places = mosaic(pictures, _ACROSS, max(1, side // 6), below)
        show(axes, np.where(np.isnan(whole), 1.0, whole))
        for value, (top, left) in zip(values, places, strict=True):
            _bar(axes, float(value), top + side + below / 2 - 0.5, left - 0.5, side)
        title = f"column {'ab'[index]}" if columns == 2 else "all kernels"
        axes.set_title(
            f"{title}: mean colour selectivity {np.nanmean(values):.2f}",
            loc="left", fontsize=10, color=INK,
        )  # fmt: skip
    return figure


def kernel_picture(kernel: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """(3, h, w) weights as (h, w, 3) in [0, 1]: grey is zero, the largest weight an end."""
    largest = np.abs(kernel).max() or 1.0
    return (0.5 + 0.5 * kernel / largest).transpose(1, 2, 0)


def _bar(axes: Any, value: float, height: float, left: float, length: int) -> None:
    """Full length is a selectivity of 1."""
    line = {"linewidth": 2.5, "solid_capstyle": "butt"}
    axes.plot([left, left + length], [height, height], color="#e6e9ed", **line)
    if np.isfinite(value):
        axes.plot([left, left + value * length], [height, height], color=INK, **line)


def selectivity_figure(kernels: npt.NDArray[np.floating[Any]]) -> "Figure":
    """The selectivities of both columns as points, each with its median, and the test's answer."""
    compared = compare_columns(kernels)
    figure = new_figure(6.4, 1.9)
    axes = figure.subplots()
    for row, (values, (_, color, mark)) in enumerate(
        zip(compared.selectivity, _SERIES, strict=True)
    ):
        order = np.argsort(values)
        lift = 0.16 * np.sin(np.arange(len(values)) * 2.4)  # spread without chance
        axes.scatter(
            values[order], row + lift, s=18, color=color, marker=mark, alpha=0.75, linewidth=0
        )
        median = float(np.nanmedian(values))
        axes.plot([median, median], [row - 0.32, row + 0.32], color=INK, linewidth=1.6)
        axes.text(
            median, row - 0.36, f"median {median:.2f}", ha="center", va="bottom", fontsize=7.5
        )
    axes.axvline(_RANDOM, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.text(
        _RANDOM - 0.01, -0.7, "random weights", fontsize=7.5, color=MUTED, va="top", ha="right"
    )
    axes.set_yticks([0, 1], [name for name, _, _ in _SERIES])
    axes.set_ylim(1.5, -0.8)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("colour selectivity: 0 ignores colour, 1 sees nothing else", fontsize=8)
    plain(axes)
    return figure


def columns_in_words(kernels: npt.NDArray[np.floating[Any]]) -> str:
    """One sentence on whether the columns differ."""
    compared = compare_columns(kernels)
    more = "ab"[compared.colorful_column]
    verdict = "differ" if compared.p_value < 0.01 else "do not differ measurably"
    return (
        f"The columns {verdict} in colour: a kernel of column {more} is the more colourful of a "
        f"pair with probability {compared.superiority:.2f} (0.50 would be no difference; two-sided "
        f"rank test, p = {compared.p_value:.2g}). The paper found one column largely "
        "colour-agnostic and the other colour-specific in every run."
    )
