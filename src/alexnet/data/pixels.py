"""Where decoded pixels live: here, in host memory."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from alexnet.data.images import BadImage, load_square
from alexnet.data.sources import Split
from alexnet.errors import UserError
from alexnet.progress import Meter


@dataclass(frozen=True)
class ImageSet:
    """Decoded images in a fixed order.

    Attributes:
        pixels: (N, S, S, 3) uint8 RGB.
        labels: (N,) int64.
        keys: the name of each image.
        skipped: (name, reason) of what could not be read.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    keys: Sequence[str]
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return int(self.pixels.shape[1])


def load_images(split: Split, size: int, workers: int, title: str) -> ImageSet:
    """Decode a split into memory, `workers` images at a time; the order is the split's.

    Images that cannot be read are left out and listed.

    Raises:
        UserError: the pixels do not fit into memory.
    """
    try:
        pixels = np.empty((len(split), size, size, 3), dtype=np.uint8)
    except MemoryError:
        gibibytes = len(split) * size * size * 3 / 2**30
        raise UserError(
            f"{len(split)} images of {size}x{size} pixels need {gibibytes:.0f} GiB of memory; "
            "use fewer images, or a smaller --set data.size"
        ) from None
    skipped: list[tuple[str, str]] = []
    kept: list[int] = []

    def load(index: int) -> str | None:
        try:
            pixels[index] = load_square(split.read(index), size)
        except BadImage as error:
            return str(error)
        except OSError as error:
            return error.strerror or str(error)
        return None

    with ThreadPoolExecutor(workers) as pool, Meter(title, len(split)) as meter:
        for index, reason in enumerate(pool.map(load, range(len(split)))):
            if reason is None:
                kept.append(index)
            else:
                skipped.append((split.keys[index], reason))
            meter.advance()
    if skipped:
        pixels = pixels[kept]
    return ImageSet(pixels, split.labels[kept], [split.keys[i] for i in kept], skipped)
