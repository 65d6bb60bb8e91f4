"""Figure 4, left: images with the five labels the network considers most probable."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alexnet.figures.style import BLUE, INK, MUTED, ORANGE, Picture, new_figure, shorten, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACROSS = 4
_TOP = 5


def panels_figure(
    pictures: list[Picture],
    labels: list[int],
    probabilities: npt.NDArray[np.floating[Any]],
    classes: tuple[str, ...],
) -> "Figure":
    """Each image over its most probable classes; the correct one is blue, hatched and ticked.

    Args:
        pictures: N images.
        labels: the correct class of each.
        probabilities: (N, C).
        classes: the names.
    """
    from matplotlib.patheffects import withStroke

    rows = -(-len(pictures) // _ACROSS)
    figure = new_figure(2.1 * _ACROSS, 3.5 * rows)
    cells = figure.subplots(2 * rows, _ACROSS, squeeze=False, height_ratios=[1.7, 1.0] * rows)
    for cell in cells.ravel():
        cell.set_axis_off()
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        above, below = (cells[2 * (number // _ACROSS) + k, number % _ACROSS] for k in (0, 1))
        show(above, picture)
        above.set_title(shorten(classes[label]), fontsize=9, color=INK)
        best = np.argsort(-probabilities[number], kind="stable")[: min(_TOP, len(classes))]
        for place, index in enumerate(best):
            right = index == label
            value = float(probabilities[number, index])
            below.barh(
                place,
                value,
                color=BLUE if right else ORANGE,
                alpha=0.55,
                hatch="///" if right else None,
                edgecolor=BLUE if right else "none",
                linewidth=0,
                height=0.8,
            )
            mark = "✓ " if right else ""
            name = f"{mark}{shorten(classes[index])}"
            below.text(
                0.02,
                place,
                name,
                va="center",
                fontsize=8,
                color=INK,
                path_effects=[withStroke(linewidth=2.5, foreground="white", alpha=0.8)],
            )
            below.text(
                0.99, place, f"{value:.0%}", va="center", ha="right", fontsize=7, color=MUTED
            )
        below.set_xlim(0, 1)
        below.set_ylim(_TOP - 0.4, -0.6)
    return figure
