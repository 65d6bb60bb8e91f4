"""What the maps of a layer answer to one image."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from alexnet.figures.style import INK, MAP, MUTED, Picture, mosaic, new_figure, show

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
    figure = new_figure(4.6 * columns + 1.4, 1.45 * len(stages))
    grid = figure.add_gridspec(len(stages), columns + 1, width_ratios=[1.3, *([4.6] * columns)])
    axes = figure.add_subplot(grid[0, 0])
    show(axes, picture)
    axes.set_title("input", loc="left", fontsize=8, color=INK)
    for row, (name, maps) in enumerate(stages.items()):
        highest = float(maps.max()) or 1.0
        for index, group in enumerate(np.split(maps, columns)):
            strongest = np.argsort(-group.max(axis=(1, 2)), kind="stable")[: _ACROSS * _DOWN]
            whole, _ = mosaic(group[strongest], _ACROSS, max(1, group.shape[-1] // 12))
            axes = figure.add_subplot(grid[row, index + 1])
            show(axes, whole, cmap=MAP, vmin=0.0, vmax=highest)
            axes.set_anchor("W")
            where = f", column {'ab'[index]}" if columns == 2 else ""
            axes.set_title(
                f"{name}{where}: {len(strongest)} strongest of {len(group)} maps",
                loc="left", fontsize=8, color=MUTED,
            )  # fmt: skip
    return figure
