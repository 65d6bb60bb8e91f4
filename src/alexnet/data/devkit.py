"""The development kits of ILSVRC-2010 and -2012: which class has which number.

A kit's `meta.mat` numbers its classes from 1; a label here is that number minus 1, the order of
the original network's outputs. It is not the order of sorted WordNet identifiers, by which folders
would be numbered: of the 1000 classes of 2010 one keeps its place there, of those of 2012 none.
"""

import re
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet.data.archives import read_small_files
from alexnet.errors import UserError, in_a_line

YEARS = (2010, 2012)
KITS = {2010: "ILSVRC2010_devkit-1.0.tar.gz", 2012: "ILSVRC2012_devkit_t12.tar.gz"}
TEST_LABELS = "ILSVRC2010_test_ground_truth.txt"
"""The labels of the test images of 2010. Those of 2012 were never published: what goes about under
their name are these again."""

_META = "meta.mat"
_ARCHIVE = re.compile(r"ILSVRC\d{4}_devkit.*\.(tar|tar\.gz|tgz)", re.IGNORECASE)
_FOLDER = re.compile(r"(ILSVRC\d{4}[-_])?dev-?kit.*|ilsvrc\d{4}[-_]?devkit.*", re.IGNORECASE)


@dataclass(frozen=True)
class Devkit:
    """What a kit says; classes are in the order of their numbers."""

    year: int
    wnids: tuple[str, ...]  # WordNet identifiers, "n07711080"
    words: tuple[str, ...]  # "french fries, french-fried potatoes, fries, chips"
    validation: npt.NDArray[np.int64]  # of each validation image by number; -1: not known
    test: npt.NDArray[np.int64] | None  # the same of the test images, if the kit holds them

    @property
    def names(self) -> tuple[str, ...]:
        """The words, made unique where two classes have the same: "crane (n02012849)"."""
        counts = Counter(self.words)
        return tuple(
            words if counts[words] == 1 else f"{words} ({wnid})"
            for words, wnid in zip(self.words, self.wnids, strict=True)
        )


def find_devkits(folder: Path) -> list[Path]:
    """The kits in a folder: archives, unpacked kits, or the folder itself."""
    found = [folder] if (folder / "data" / _META).is_file() else []
    for path in sorted(folder.iterdir()):
        archive = path.is_file() and _ARCHIVE.fullmatch(path.name)
        unpacked = _FOLDER.fullmatch(path.name) and (path / "data" / _META).is_file()
        if archive or unpacked:
            found.append(path)
    return found


def read_devkit(path: Path) -> Devkit:
    """Read a kit from its archive or from the folder it unpacks to.

    Raises:
        UserError: it lacks something or is damaged.
    """
    files = _files(path)
    if _META not in files:
        raise UserError(f"{path} has no data/{_META}; get the development kit again")
    try:
        year, wnids, words = _classes(files[_META])
    except Exception as error:  # of a damaged file the reader raises whatever comes to hand
        reason = in_a_line(error)
        raise UserError(f"{path}: {_META} is damaged ({reason}); get the kit again") from None
    name = f"ILSVRC{year}_validation_ground_truth.txt"
    if name not in files:
        raise UserError(f"{path} has no data/{name}; get the development kit again")
    test = files.get(TEST_LABELS) if year == 2010 else None
    return Devkit(
        year=year,
        wnids=wnids,
        words=words,
        validation=read_labels(files[name], f"{path}: {name}", len(wnids)),
        test=None if test is None else read_labels(test, f"{path}: test labels", len(wnids)),
    )


def read_labels(text: bytes, name: str, classes: int) -> npt.NDArray[np.int64]:
    """The labels in a ground truth file, one number of a class a line.

    Args:
        text: the file's content.
        name: what to call it in an error.
        classes: how many there are.

    Raises:
        UserError: a line is no number of a class.
    """
    labels = []
    for line, word in enumerate(text.decode("ascii", "replace").splitlines(), start=1):
        if not word.strip().isdecimal() or not 1 <= int(word) <= classes:
            raise UserError(
                f"{name}, line {line}: {word!r} is no class number from 1 to {classes}; "
                "get the file again"
            )
        labels.append(int(word) - 1)
    return np.array(labels, dtype=np.int64)


def _files(path: Path) -> dict[str, bytes]:
    """The files of a kit that matter, by name."""
    if path.is_file():
        return read_small_files(path, _matters)
    try:
        found = [*(path / "data").iterdir(), *path.iterdir()]
        return {file.name: file.read_bytes() for file in found if _matters(file.name)}
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def _matters(name: str) -> bool:
    return name == _META or name.endswith("_ground_truth.txt")


def _classes(content: bytes) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """Year, identifiers and words of a `meta.mat`.

    It lists the classes and, after them, their ancestors, which have children.
    """
    from scipy.io import loadmat  # takes a while to import

    synsets: Any = loadmat(BytesIO(content), squeeze_me=True)["synsets"]
    year = next(y for y in YEARS if f"ILSVRC{y}_ID" in synsets.dtype.names)
    leaves = sorted(
        (int(synset[f"ILSVRC{year}_ID"]), str(synset["WNID"]), str(synset["words"]))
        for synset in np.atleast_1d(synsets)
        if int(synset["num_children"]) == 0
    )
    if [number for number, _, _ in leaves] != list(range(1, len(leaves) + 1)):
        raise ValueError("its classes are not numbered from 1")
    _, wnids, words = zip(*leaves, strict=True)
    return year, wnids, words
