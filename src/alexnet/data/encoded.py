"""Encoded images in files of their own: read at once, and never more than a picture can need."""

import os
import stat

from alexnet.data.images import BadImage

MAX_BYTES = 1 << 30
"""Larger files are refused. The most pixels there may be, in 16-bit RGBA, need 0.8 GB."""


def read_encoded(path: str) -> bytes:
    """The bytes of an image file.

    Raises:
        BadImage: it is no regular file, or too large; nothing of it is read.
        OSError: it has gone, or may not be read.
    """
    with open(path, "rb", buffering=0, opener=_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BadImage("no regular file")
        check_size(status.st_size)
        return file.read()


def check_size(size: int) -> None:
    """BadImage if so many encoded bytes are too many."""
    if size > MAX_BYTES:
        raise BadImage(f"{size / 1e9:.1f} GB are over the limit of {MAX_BYTES >> 30} GiB")


def _without_waiting(path: str, flags: int) -> int:
    """A pipe would open once somebody writes to it, perhaps never."""
    return os.open(path, flags | os.O_NONBLOCK)
