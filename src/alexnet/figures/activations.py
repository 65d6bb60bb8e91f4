"""What the maps of a layer answer to one image."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from alexnet.figures.style import INK, MAP, MUTED, Picture, new_figure, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACROSS, _DOWN = 8, 2


def maps_figure(
    picture: Picture, stages: dict[str, npt.NDArray[np.float32]], columns: int
) -> "Figure":
    """The strongest maps of each stage beside the image, those of each column apart.

    Args:
        picture: what the network saw.
        stages: (C, H, W) of each stage to show, in order.
        columns: how many columns the channels divide into.
    """
    across = _ACROSS * columns
    figure = new_figure(0.8 * across + 1.6, (0.82 * _DOWN + 0.3) * len(stages))
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[1.6, 0.8 * across])[0]
    axes = left.subplots()
    show(axes, picture)
    axes.set_title("input", fontsize=9, color=INK)
    parts = right.subfigures(len(stages), columns, squeeze=False)
    for row, (name, maps) in zip(parts, stages.items(), strict=True):
        highest = float(maps.max()) or 1.0
        for index, (part, group) in enumerate(zip(row, np.split(maps, columns), strict=True)):
            strongest = np.argsort(-group.max(axis=(1, 2)), kind="stable")[: _ACROSS * _DOWN]
            where = f", column {'ab'[index]}" if columns == 2 else ""
            part.suptitle(
                f"{name}{where}: {len(strongest)} strongest of {len(group)}",
                fontsize=8,
                color=MUTED,
            )
            cells = part.subplots(_DOWN, _ACROSS, squeeze=False).ravel()
            for cell in cells:
                cell.set_axis_off()
            for cell, number in zip(cells, strongest, strict=False):
                show(cell, group[number], cmap=MAP, vmin=0.0, vmax=highest)
    return figure
