"""One process of `squares.WorkerPool`: encoded images come in, encoded squares go out.

It ends when its input ends, that is also when its parent is killed.
"""

import os
import pickle
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from alexnet.data.images import BadImage, load_square
from alexnet.data.sums import Sums, sum_images


@dataclass(frozen=True)
class Settings:
    """How a square is made and kept."""

    size: int = 256  # pixels along each side
    encoding: str = "jpeg"  # or "raw": an uncompressed PPM file
    quality: int = 95  # of JPEG


@dataclass(frozen=True)
class Squares:
    """What became of some images, in their order."""

    encoded: list[bytes | str]  # a string says why there is no picture
    sums: Sums | None  # over those that are pictures, if asked for


def encode(pixels: npt.NDArray[np.uint8], settings: Settings) -> bytes:
    """A file of (S, S, 3) pixels: JPEG with halved colour resolution, or PPM."""
    if settings.encoding == "raw":
        height, width, _ = pixels.shape
        return b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes()
    file = BytesIO()
    image = Image.fromarray(pixels)
    image.save(file, "JPEG", quality=settings.quality, subsampling="4:2:0")
    return file.getvalue()


def make_squares(images: Iterator[bytes], settings: Settings, with_sums: bool) -> Squares:
    """Decode, cut and encode images one after the other."""
    encoded: list[bytes | str] = []

    def squares() -> Iterator[npt.NDArray[np.uint8]]:
        for image in images:
            try:
                pixels = load_square(image, settings.size)
            except BadImage as error:
                encoded.append(str(error))
                continue
            encoded.append(encode(pixels, settings))
            yield pixels

    if with_sums:
        return Squares(encoded, sum_images(squares(), settings.size))
    for _ in squares():
        pass
    return Squares(encoded, None)


def _serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer until the input ends: each request is a flag, images, and None."""
    settings = pickle.load(requests)
    while True:
        with_sums = pickle.load(requests)
        images = iter(lambda: pickle.load(requests), None)
        pickle.dump(make_squares(images, settings, with_sums), replies, protocol=5)
        replies.flush()


def main() -> None:
    """Serve on standard input and output; what is printed goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        _serve(sys.stdin.buffer, replies)
    except (EOFError, BrokenPipeError, pickle.UnpicklingError):  # the parent is gone
        os._exit(0)  # a reply that nobody reads must not be flushed
