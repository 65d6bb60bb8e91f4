"""How every figure looks. Colours that all kinds of colour vision tell apart (Okabe and Ito)."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE = "#1b1f24", "#5b6570", "#d5dae0"
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
MAP = "cividis"  # of magnitudes: even in lightness, the same for all kinds of colour vision
SIGNED = "PuOr"  # of values around zero

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure on white, inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def show(axes: "Axes", picture: npt.NDArray[Any], **options: Any) -> Any:
    """A picture without axes."""
    axes.set_axis_off()
    return axes.imshow(picture, interpolation=options.pop("interpolation", "nearest"), **options)


def mosaic(
    tiles: npt.NDArray[Any], across: int, gap: int, below: int = 0
) -> tuple[npt.NDArray[Any], list[tuple[int, int]]]:
    """Tiles (K, h, w) or (K, h, w, 3) side by side in one array, NaN between them.

    One picture instead of many axes: a page of hundreds is drawn in a second instead of a minute.

    Args:
        tiles: float, of one size.
        across: tiles in a row.
        gap: pixels between tiles.
        below: further pixels under each row.

    Returns:
        The array, and (top, left) of each tile in it.
    """
    count, height, width = tiles.shape[:3]
    down = -(-count // across)
    size = (down * (height + gap + below) - gap, across * (width + gap) - gap)
    whole = np.full((*size, *tiles.shape[3:]), np.nan)
    places = [
        ((index // across) * (height + gap + below), (index % across) * (width + gap))
        for index in range(count)
    ]
    for tile, (top, left) in zip(tiles, places, strict=True):
        whole[top : top + height, left : left + width] = tile
    return whole, places


def plain(axes: "Axes", title: str = "") -> None:
    """A plot with no more lines than it needs."""
    axes.set_title(title, loc="left", fontsize=9, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(MUTED)
    axes.tick_params(which="both", labelsize=8, colors=MUTED, length=2.5)
    axes.tick_params(which="minor", labelsize=7, length=1.5)


def shorten(text: str, most: int = 22) -> str:
    """A class name that fits beside a bar."""
    first = text.split(",")[0]
    short = first if len(first) <= most else first[: most - 1].rstrip() + "…"
    return short.replace("$", r"\$")  # matplotlib takes what is between two of them for a formula
