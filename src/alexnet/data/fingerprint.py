"""By what interrupted work knows its images again: names, labels, sizes, and some of their bytes.

Reading all bytes would take as long as the work itself, and times of change differ between copies
of one source, which shall give the same set to the byte. So of every source some 256 places are
read, evenly spread: an edit that keeps sizes is noticed if it touches one of them, as it does when
a folder is converted or an archive is replaced; a single edited file among a million is not.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alexnet.data.sources import Source
from alexnet.data.threads import mapped
from alexnet.errors import UserError

_PLACES = 256
_PLACE_BYTES = 1 << 16  # a photograph's file is little more


def fingerprint(source: Source) -> str:
    """A hash of a source that changes when images are added, removed, renamed or relabelled.

    Sizes of files and a sample of contents are part of it, times are not: a copy of the source is
    the same source.

    Args:
        source: what was opened.

    Raises:
        UserError: a file has gone.
    """
    digest = hashlib.sha256("\n".join([source.kind, *source.classes]).encode())
    for name, split in (("", source.train), ("", source.validation), ("test", source.test)):
        if split is not None:
            digest.update("\n".join([name, *split.keys]).encode())
            digest.update(split.labels.tobytes())
    files = source.files()
    digest.update(_sizes(files))
    for file in files[:: -(-len(files) // _PLACES) or 1]:
        digest.update(_sample(file, max(1, _PLACES // len(files))))
    return digest.hexdigest()


def _sample(path: Path, places: int) -> bytes:
    """The bytes at so many places of a file, evenly spread; the first is its begin."""
    try:
        with path.open("rb", buffering=0) as file:
            step = max(_PLACE_BYTES, path.stat().st_size // places)
            read = []
            for place in range(places):
                file.seek(place * step)
                read.append(file.read(_PLACE_BYTES))
            return b"".join(read)
    except PermissionError:  # such an image will be listed
        return b""
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def _sizes(paths: Sequence[Path]) -> bytes:
    def size(path: Path) -> int:
        try:
            return path.stat().st_size
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None

    return np.fromiter(mapped(size, paths), np.int64, len(paths)).tobytes()
