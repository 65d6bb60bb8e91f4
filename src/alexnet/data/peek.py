"""A glance at a few images, for what must be chosen before all are decoded."""

from dataclasses import dataclass

import numpy as np

from alexnet.data.images import BadImage, decode
from alexnet.data.sources import Split

_LOOKED_AT = 48


@dataclass(frozen=True)
class Glance:
    """What a few images have in common.

    Attributes:
        side: median shorter side in pixels, None where none could be read.
        gray: whether none of them has colours.
    """

    side: int | None
    gray: bool


def glance(split: Split) -> Glance:
    """Look at a few images, spread evenly over a split."""
    sides, gray = [], True
    for index in np.unique(np.linspace(0, len(split) - 1, _LOOKED_AT).astype(int)).tolist():
        try:
            image = decode(split.read(index))
        except (BadImage, OSError):
            continue
        sides.append(min(image.size))
        if gray:
            pixels = np.asarray(image.reduce(max(1, min(image.size) // 64))).astype(np.int16)
            gray = bool((pixels.max(2) - pixels.min(2)).max() <= 4)
    return Glance(int(np.median(sides)) if sides else None, gray and bool(sides))
