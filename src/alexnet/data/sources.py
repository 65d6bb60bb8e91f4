"""What can be read: every source of labelled images looks the same from here on."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alexnet.data.statistics import Statistics
from alexnet.errors import UserError
from alexnet.files import at_home
from alexnet.suggest import unknown

NAMES = ("digits", "cifar10")
"""The sources that go by a name; every other one is a path."""

KINDS = ("auto", "folder", "ilsvrc2010", "ilsvrc2012", "cifar10", "parquet", "csv")
"""What a path can be read as; "auto" looks at what is there."""

SPLITS = {
    "train": "training images",
    "val": "validation images",
    "test": "test images",
    "all": "images of all splits",
}
"""The splits as commands call them, and in words."""


@dataclass(frozen=True)
class Split:
    """The images of one split, still encoded.

    `read` may be called from any number of threads. It raises OSError if the image has gone, and
    BadImage if it is there but cannot be a picture.
    """

    keys: Sequence[str]  # unique names such as "train/cat/1.jpg", made by `as_text` from paths
    labels: npt.NDArray[np.int64]  # (N,), indices into the classes of the source
    read: Callable[[int], bytes]  # the encoded bytes of image i, 0 <= i < N

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.int64]) -> "Split":
        """The split of the images at these (M,) indices, in their order."""
        keys = [self.keys[i] for i in indices]
        return Split(keys, self.labels[indices], lambda i: self.read(int(indices[i])))


@dataclass(frozen=True)
class LeftOut:
    """Images that lie among the others and are in no split, for their format or their place.

    Attributes:
        count: how many.
        what: goes after the count, such as ".heic files are not read".
        mend: what brings them in.
    """

    count: int
    what: str
    mend: str


@dataclass(frozen=True)
class Source:
    """Labelled images in two or three splits."""

    name: str  # "digits", "cifar10", "ILSVRC-2010", or the name of the folder
    kind: str  # "digits", or one of KINDS without "auto"
    classes: tuple[str, ...]
    train: Split
    validation: Split
    mirror: bool = True  # False where a mirror image is another thing
    crop: bool = True  # False where what matters reaches the edge of the picture
    notes: tuple[str, ...] = ()  # what was decided or left out on the way, one line each
    unusable: tuple[tuple[str, str], ...] = ()  # (name, reason) of images that are in no split
    left_out: tuple[LeftOut, ...] = ()  # others that are in none; the notes name them as well
    files: Callable[[], Sequence[Path]] = tuple  # that images are read from, always in one order
    test: Split | None = None
    class_ids: tuple[str, ...] = ()  # the WordNet identifier of each class, where it has one
    year: int | None = None  # of ILSVRC: the classes and their order depend on it
    divided: bool = False  # whether validation images were held out here, of what has no splits
    statistics: Statistics | None = None  # of the training split, where they are known already
    validation_fraction: float | None = None  # that was asked for when a prepared set was made

    def split(self, name: str) -> Split:
        """The split that commands call so, one of SPLITS.

        Raises:
            UserError: there is none.
        """
        own = (self.train, self.validation, self.test)
        if name == "all":
            return _together([split for split in own if split is not None])
        splits = dict(zip(SPLITS, own, strict=False))
        chosen = splits.get(name)
        if chosen is None:
            there = [*(name for name, split in splits.items() if split is not None), "all"]
            raise UserError(unknown(f"split of {self.name}:", name, there))
        return chosen


def _together(splits: Sequence[Split]) -> Split:
    """The images of several splits, one after the other."""
    ends = np.cumsum([len(split) for split in splits])

    def read(index: int) -> bytes:
        number = int(np.searchsorted(ends, index, side="right"))
        return splits[number].read(index - int(ends[number]) + len(splits[number]))

    keys = [key for split in splits for key in split.keys]
    return Split(keys, np.concatenate([split.labels for split in splits]), read)


def as_text(name: str) -> str:
    """A file's name as text that can be written: bytes that are no UTF-8 become "\\xff"."""
    try:
        name.encode()
    except UnicodeEncodeError:  # Python holds such bytes as halves of characters
        return os.fsencode(name).decode(errors="backslashreplace")
    return name


def check_name(out: Path) -> None:
    """Refuse a folder to write to that the libraries could not open again.

    Raises:
        UserError: its path is no UTF-8.
    """
    if (shown := as_text(str(out))) != str(out):
        raise UserError(f"{shown} is no name in UTF-8; choose another --out")


def as_data(data: str | Path) -> str:
    """DATA as a command line has it; a Path is never a name, so Path("digits") is the folder."""
    return data if isinstance(data, str) else str(at_home(data).absolute())


def open_source(
    data: str | Path, *, validation_fraction: float = 0.2, kind: str = "auto"
) -> Source:
    """Open what a user calls DATA.

    Args:
        data: a name ("digits", "cifar10") or a path: a prepared set, the archives of ILSVRC-2010
            or -2012 or what they unpack to, CIFAR-10, Parquet files, a CSV list, or an image
            folder. A name wins over a folder of that name ("./digits" is the folder, and so is
            every Path).
        validation_fraction: the part of a source without a validation split of its own that
            becomes one.
        kind: one of KINDS, where the path alone would be taken for something else.

    Raises:
        UserError: nothing of the kind, or it cannot be used; one line says what is wanted.
    """
    if kind not in KINDS:
        raise UserError(unknown("kind of source", kind, KINDS))
    # The readers know this module, so it can know them only from here.
    from alexnet.data.cifar10 import open_cifar10
    from alexnet.data.digits import open_digits

    data = as_data(data)
    if data == "digits" and kind == "auto":
        return _named(data, open_digits(validation_fraction=validation_fraction))
    if data == "cifar10" and kind in ("auto", "cifar10"):
        return _named(data, open_cifar10())
    path = at_home(data)
    try:
        if not path.exists():
            raise UserError(_nothing_there(data))
        held = _kind(path) if kind == "auto" else kind
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    return _open_path(path, held, validation_fraction)


def _named(name: str, source: Source) -> Source:
    """The source that goes by a name; it tells of a folder here that might have been meant."""
    if not Path(name).is_dir():
        return source
    ours = "the embedded digits" if name == "digits" else "the set that is downloaded"
    note = f"{name}: {ours}; the folder of that name is ./{name}"
    return replace(source, notes=(*source.notes, note))


def _kind(path: Path) -> str:
    """What a path holds: one of KINDS, or "prepared"."""
    from alexnet.data.cifar10 import holds_cifar10
    from alexnet.data.ilsvrc import ilsvrc_year
    from alexnet.data.lists import is_list
    from alexnet.data.parquet import holds_parquet
    from alexnet.data.prepared import holds_prepared

    if holds_prepared(path):
        return "prepared"
    if year := ilsvrc_year(path):
        return f"ilsvrc{year}"
    if holds_parquet(path):
        return "parquet"
    if is_list(path):
        return "csv"
    return "cifar10" if holds_cifar10(path) else "folder"


def _open_path(path: Path, kind: str, validation_fraction: float) -> Source:
    from alexnet.data.cifar10 import open_cifar10
    from alexnet.data.folders import open_folder
    from alexnet.data.ilsvrc import open_ilsvrc
    from alexnet.data.lists import open_list
    from alexnet.data.parquet import open_parquet
    from alexnet.data.prepared import open_prepared

    if kind == "prepared":
        return open_prepared(path)
    if kind == "cifar10":
        return open_cifar10(path)
    if kind == "parquet":
        return open_parquet(path, validation_fraction=validation_fraction)
    if kind == "csv":
        return open_list(path, validation_fraction=validation_fraction)
    if not path.is_dir():
        raise UserError(
            f"{path} is a file; wanted is a folder of images or archives, Parquet files, a CSV "
            f"list, a CIFAR-10 archive (.tar.gz), or a name ({', '.join(NAMES)})"
        )
    if kind.startswith("ilsvrc"):
        return open_ilsvrc(path, int(kind.removeprefix("ilsvrc")))
    return open_folder(path, validation_fraction=validation_fraction)


def _nothing_there(data: str) -> str:
    looks_like_a_path = os.sep in data or data.startswith((".", "~"))
    if looks_like_a_path:
        return f"no such file or folder: {data}"
    return f"{unknown('data set', data, NAMES)}; there is no folder {data!r} either"
