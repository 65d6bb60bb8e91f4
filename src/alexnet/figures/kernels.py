"""Figure 3: the kernels of the first layer, column by column, and how much each is about colour."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alexnet.evaluation.kernels import color_selectivity, compare_columns
from alexnet.figures.style import BLUE, INK, MUTED, ORANGE, new_figure, plain, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACROSS = 8  # kernels in a row of a column's panel: 48 are 8 x 6, as in the paper
_RANDOM = 2 / 3  # of independent weights
_SERIES = (("column a", BLUE, "o"), ("column b", ORANGE, "s"))


def kernels_figure(kernels: npt.NDArray[np.floating[Any]], columns: int) -> "Figure":
    """All kernels (K, 3, h, w) in panels by column, a bar below each for its colour selectivity."""
    groups = np.split(np.asarray(kernels, dtype=np.float64), columns)
    rows = -(-len(groups[0]) // _ACROSS)
    figure = new_figure(5.0 * columns, 0.72 * rows + 0.5)
    panels = figure.subfigures(1, columns, squeeze=False)[0]
    for index, (panel, group) in enumerate(zip(panels, groups, strict=True)):
        title = f"column {'ab'[index]}" if columns == 2 else "all kernels"
        mean = float(np.nanmean(color_selectivity(group)))
        panel.suptitle(f"{title}: mean colour selectivity {mean:.2f}", fontsize=10, color=INK)
        cells = panel.subplots(rows, _ACROSS, squeeze=False).ravel()
        for cell in cells:
            cell.set_axis_off()
        for cell, kernel, value in zip(cells, group, color_selectivity(group), strict=False):
            show(cell, kernel_picture(kernel))
            _bar(cell, float(value))
    return figure


def kernel_picture(kernel: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """(3, h, w) weights as (h, w, 3) in [0, 1]: grey is zero, the largest weight an end."""
    largest = np.abs(kernel).max() or 1.0
    return (0.5 + 0.5 * kernel / largest).transpose(1, 2, 0)


def _bar(cell: Any, value: float) -> None:
    """Full width is a selectivity of 1."""
    place = {"transform": cell.transAxes, "clip_on": False}
    cell.plot(
        [0, 1], [-0.09, -0.09], color="#e6e9ed", linewidth=2.5, solid_capstyle="butt", **place
    )
    if np.isfinite(value):
        cell.plot(
            [0, value], [-0.09, -0.09], color=INK, linewidth=2.5, solid_capstyle="butt", **place
        )


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
