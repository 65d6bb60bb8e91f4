"""By what interrupted work knows its images again: names, labels and sizes, not all their bytes."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from alexnet.data.sources import Source
from alexnet.errors import UserError

_STORES = (".tar", ".gz", ".tgz", ".parquet", ".bin", ".arrow")


def fingerprint(source: Source, place: str | Path) -> str:
    """A hash of a source that changes when images are added, removed, renamed or relabelled.

    Sizes of files are part of it, times are not: a copy of the source is the same source.

    Args:
        source: what was opened.
        place: from where.

    Raises:
        UserError: a file has gone.
    """
    digest = hashlib.sha256("\n".join([source.kind, *source.classes]).encode())
    path = Path(place).expanduser()
    for name, split in (("", source.train), ("", source.validation), ("test", source.test)):
        if split is not None:
            digest.update("\n".join([name, *split.keys]).encode("utf-8", "surrogateescape"))
            digest.update(split.labels.tobytes())
            if source.kind in ("folder", "csv"):
                folder = path if path.is_dir() else path.parent
                digest.update(_sizes([folder / key for key in split.keys]))
    digest.update(_sizes(_stores(path)))
    return digest.hexdigest()


def _stores(path: Path) -> list[Path]:
    """The files that hold many images."""
    places = [path, path / "data"] if path.is_dir() else []
    files = [file for place in places if place.is_dir() for file in place.iterdir()]
    files += [path] if path.is_file() else []
    return sorted(file for file in files if file.suffix in _STORES)


def _sizes(paths: list[Path]) -> bytes:
    def size(path: Path) -> int:
        try:
            return path.stat().st_size
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None

    with ThreadPoolExecutor() as pool:
        return np.array(list(pool.map(size, paths)), dtype=np.int64).tobytes()
