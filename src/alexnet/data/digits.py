"""The embedded data set: 1,797 handwritten digits of 8x8 pixels (assets/README.md says whose)."""

import hashlib
from functools import cache
from importlib.resources import files
from io import BytesIO

import numpy as np
import numpy.typing as npt

from alexnet.data.folders import in_validation
from alexnet.data.images import encode_png
from alexnet.data.sources import Source, Split

_WHITE = 16  # the images hold values from 0 to 16


def open_digits(*, validation_fraction: float = 0.2) -> Source:
    """The digits, split by content as image folders are; each image reads as an 8x8 grey PNG."""
    images, labels = _load()
    levels = _levels(images)
    keys = [f"{label}/{i:04d}.png" for i, label in enumerate(labels)]
    everything = Split(keys, labels, lambda i: encode_png(levels[i]))
    # Pixels are hashed, not files: the bytes of a PNG depend on the library that wrote it.
    contents = [hashlib.sha256(image.tobytes()).digest() for image in images]
    held_out = in_validation(contents, labels, validation_fraction)
    return Source(
        name="digits",
        kind="digits",
        classes=tuple("0123456789"),
        train=everything.take(np.flatnonzero(~held_out)),
        validation=everything.take(np.flatnonzero(held_out)),
        mirror=False,
        divided=True,
        crop=False,  # strokes reach the edge of the 8x8 grid
    )


@cache
def _load() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The asset: (1797, 8, 8) values 0..16 and (1797,) labels."""
    asset = files("alexnet.data").joinpath("assets", "digits.npz").read_bytes()
    with np.load(BytesIO(asset)) as arrays:
        return arrays["images"], arrays["labels"].astype(np.int64)


def _levels(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """0..16 to 0..255: round(v * 255 / 16)."""
    return ((images.astype(np.int64) * 255 + _WHITE // 2) // _WHITE).astype(np.uint8)
