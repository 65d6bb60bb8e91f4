"""From a picture to the square that the network is trained on: section 2 of the paper.

The longer side is rounded and the crop placed as in the authors' later pipeline (cuda-convnet2,
make-data): side = round(side * size / shorter), offset = (side - size) // 2. That pipeline averages
areas when it shrinks. Over 183 files of ILSVRC, HAMMING differs from the true average by 2.00 grey
levels rms, BILINEAR by 1.97, BICUBIC by 1.91 in 1.6 times the time, and BOX, which only takes whole
pixels, by 6.07. Enlarging is cubic (a = -0.5; there -0.75). Nothing is resized that is not kept, so
memory does not depend on the shape.

Rows are resized before columns and rounded to bytes in between. Pillow alone would, from version 13
on, take the columns of tall pictures first, and so other versions would give other bytes.

There are two ways to the same bytes: Pillow, and its arithmetic in a compiled loop
(`native/resize.c`) where a compiler is at hand: 0.46 ms in place of 1.55 for a photograph.

JPEG's decoding at M/8 of the size (draft mode where M is 1, 2 or 4) is not used. Three quarters of
decoding is Huffman codes, which it does not spare, and transforms of other than 1, 2, 4 and 8
points are slow: of 200 files of ILSVRC whose shorter sides are 257 to 511, the smallest scale that
leaves 256 takes 1.86 ms an image, the full size 1.86 too, and 5.1 grey levels rms off the average
over areas in place of 2.2. From 512 up (one file in twenty) half the size saves 2.0 of 4.4 ms, but
is 3.8 off in place of 1.0; as near as the full size comes only a scale that leaves 512, and that
saves 0.6 ms.
"""

import ctypes
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt
from PIL import Image

from alexnet.native.build import library

Pixels = npt.NDArray[np.uint8]


def square(image: Image.Image, size: int = 256) -> Pixels:
    """The shorter side resized to `size`, the central square cut out.

    Args:
        image: a picture in mode RGB.
        size: pixels along each side of the result.

    Returns:
        (size, size, 3) uint8. An image of that size already comes through untouched.
    """
    kept = _kept(*image.size, size)
    # 2012 (D9): the filter is not known; two years later areas were averaged.
    filter_ = Image.Resampling.BICUBIC if kept.cubic else Image.Resampling.HAMMING
    rows = image.crop((0, kept.first, image.width, kept.last))
    rows = rows.resize((size, rows.height), filter_, box=(kept.left, 0, kept.right, rows.height))
    return np.array(rows.resize((size, size), filter_, box=(0, kept.top, size, kept.bottom)))


def square_of_pixels(pixels: Pixels, size: int = 256) -> Pixels:
    """As `square`, of (H, W, 3) pixels."""
    height, width, _ = pixels.shape
    if (height, width) == (size, size):
        return pixels
    loops = library("resize")
    if loops is None or not pixels.flags.c_contiguous:
        return square(Image.fromarray(pixels), size)
    kept = _kept(width, height, size)
    rows = pixels[kept.first : kept.last]
    out = np.empty((size, size, 3), np.uint8)
    done = loops.resize_square(
        ctypes.c_void_p(rows.ctypes.data),
        width,
        len(rows),
        (ctypes.c_float * 4)(kept.left, kept.top, kept.right, kept.bottom),
        size,
        kept.cubic,
        ctypes.c_void_p(out.ctypes.data),
    )
    if not done:
        raise MemoryError
    return out


@dataclass(frozen=True)
class _Kept:
    """What of a picture the square is made of, in pixels of the picture."""

    first: int  # row that has weight in it
    last: int  # one after the last such row
    left: float
    top: float  # counted from `first`, as is `bottom`
    right: float
    bottom: float
    cubic: bool  # enlarged, not shrunk


def _kept(width: int, height: int, size: int) -> _Kept:
    shorter = min(width, height)
    across, down = (_scaled(side, shorter, size) for side in (width, height))
    left, top = (across - size) // 2, (down - size) // 2
    from_row, to_row = top * height / down, (top + size) * height / down
    cubic = shorter <= size
    reach = (2.0 if cubic else 1.0) * max(1.0, shorter / size) + 1.0  # of a weight; 1 to spare
    first, last = max(0, floor(from_row - reach)), min(height, ceil(to_row + reach))
    return _Kept(
        first,
        last,
        left * width / across,
        from_row - first,
        (left + size) * width / across,
        to_row - first,
        cubic,
    )


def _scaled(side: int, shorter: int, size: int) -> int:
    """round(side * size / shorter) with halves up, in integers."""
    return (2 * side * size + shorter) // (2 * shorter)
