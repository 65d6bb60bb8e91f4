"""Whether archives are the published ones."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from alexnet.data.ilsvrc import CHECKSUMS
from alexnet.errors import UserError
from alexnet.progress import Meter

_BLOCK = 1 << 24  # bytes


def unofficial_archives(folder: Path, checksums: Literal[True] | Mapping[str, str]) -> list[str]:
    """A note for each archive in a folder whose checksum differs.

    Args:
        folder: where the archives are.
        checksums: expected "md5:…" or "sha256:…" by file name; True for the official ones.

    Raises:
        UserError: an archive cannot be read.
    """
    expected = CHECKSUMS if checksums is True else checksums
    return [
        f"{name} is not the official archive: its checksum is not {checksum}"
        for name, checksum in expected.items()
        if (folder / name).is_file() and not _matches(folder / name, checksum)
    ]


def _matches(path: Path, checksum: str) -> bool:
    """`download.matches`, shown: the largest archive takes minutes."""
    algorithm, _, expected = checksum.partition(":")
    digest = hashlib.new(algorithm)
    try:
        with (
            path.open("rb") as file,
            Meter(f"checking {path.name} (MiB)", path.stat().st_size >> 20) as meter,
        ):
            while block := file.read(_BLOCK):
                digest.update(block)
                meter.advance(len(block) >> 20)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    return digest.hexdigest() == expected
