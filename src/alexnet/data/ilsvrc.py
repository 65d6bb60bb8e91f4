"""ILSVRC-2010 and ILSVRC-2012: their archives as they were published, or what these unpack to.

Nothing is unpacked to disk: images are read where they lie in the archives. Files are known by
their last name, for published recipes disagree on the folders before it. However the images are
stored, keys, labels and order are the same: by class, then by name.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alexnet.data.archives import Member, Reader, index_images
from alexnet.data.devkit import (
    KITS,
    TEST_LABELS,
    Devkit,
    find_devkits,
    read_devkit,
    read_labels,
)
from alexnet.data.encoded import read_encoded
from alexnet.data.images import EXTENSIONS
from alexnet.data.kaggle import IMAGES, is_kaggle, read_kaggle
from alexnet.data.sources import Source, Split, as_text
from alexnet.errors import UserError

OFFICIAL_COUNTS = {
    2010: {"train": 1_261_406, "val": 50_000, "test": 150_000},
    2012: {"train": 1_281_167, "val": 50_000},
}
CHECKSUMS = {  # of 2010 none were published
    "ILSVRC2012_img_train.tar": "md5:1d675b47d978889d74fa0da5fadfb00e",
    "ILSVRC2012_img_val.tar": "md5:29b22e2961454d5413ddabcf34fc5622",
    "ILSVRC2012_devkit_t12.tar.gz": "md5:fa75699e90414af021442c21a62c3abf",
}
_ARCHIVE = re.compile(r"ILSVRC(2010|2012)_(images|img)_(train|val|test)\.tar")
_WNID = re.compile(r"n\d{8}")
_NUMBER = re.compile(r"_(\d{8})\.")
_PATCHES = ("patch_images.tar", "patch_images")


@dataclass(frozen=True)
class _Images:
    """The images of an archive or folder, in no particular order."""

    place: Path
    paths: Sequence[str]  # inside it; the last part is the image's name
    read: Callable[[int], bytes]
    files: Callable[[], Sequence[Path]]  # that hold them

    def by_name(self) -> dict[str, int]:
        """Name → index; of several with one name the last counts, as when unpacking."""
        return {path.rpartition("/")[2]: index for index, path in enumerate(self.paths)}


_NO_IMAGES = _Images(Path(), [], lambda i: b"", list)


def ilsvrc_year(path: Path) -> int | None:
    """The year if a folder holds archives, or an unpacked tree with its kit; else None.

    Raises:
        UserError: archives of both years, or an archive where the folder around it is wanted.
    """
    if path.is_file() and _ARCHIVE.fullmatch(path.name):
        raise UserError(
            f"{path} is one of several archives; give the folder that holds them and the "
            f"development kit: {path.parent}"
        )
    if not path.is_dir():
        return None
    years = {int(m[1]) for file in path.iterdir() if (m := _ARCHIVE.fullmatch(file.name))}
    if len(years) > 1:
        raise UserError(f"{path} holds both years; say which with --kind ilsvrc2010 or ilsvrc2012")
    if years:
        return years.pop()
    if is_kaggle(path):
        return 2012
    if (path / "train").is_dir() and (kits := find_devkits(path)):
        return read_devkit(kits[0]).year
    return None


def open_ilsvrc(folder: Path, year: int) -> Source:
    """Open one year's images: archives or folders of training and validation images, and the kit.

    The test images of 2010 are there if their labels are; those of 2012 have none. Images of
    `patch_images.tar` take the place of those with their name. Labels are the kit's class numbers
    minus 1, so that 2010 and 2012 differ in classes and order; Kaggle's copy has no kit and keeps
    the order of identifiers.

    Raises:
        UserError: something is missing, damaged, or of the other year.
    """
    kit, notes = _kit(folder, year)
    patches = _patches(folder)
    train_images, val_images = (_find_images(_locate(folder, year, s)) for s in ("train", "val"))
    test_images, test_labels = _test(folder, kit)
    train = _training(kit, train_images, patches)
    validation = _numbered("val", val_images, kit.validation, patches)
    test = None if test_labels is None else _numbered("test", test_images, test_labels, patches)
    for name, split in (("train", train), ("val", validation), ("test", test)):
        official = OFFICIAL_COUNTS[year].get(name)
        if split and official and len(split) != official:
            notes.append(f"{name}: {len(split)} images, where ILSVRC-{year} has {official}")
    if missing := len(kit.wnids) - len(np.unique(train.labels)):
        notes.append(f"{missing} of {len(kit.wnids)} classes have no training images")
    return Source(
        name=f"ILSVRC-{year}",
        kind=f"ilsvrc{year}",
        classes=kit.names,
        train=train,
        validation=validation,
        test=test,
        notes=tuple(notes),
        class_ids=kit.wnids,
        year=year,
        files=lambda: [
            file
            for images in (train_images, val_images, test_images, patches)
            for file in images.files()
        ],
    )


def _kit(folder: Path, year: int) -> tuple[Devkit, list[str]]:
    """The year's kit, or what Kaggle has in its place; and what there is to say of it."""
    kits = [read_devkit(path) for path in find_devkits(folder)]
    for kit in kits:
        if kit.year == year:
            return kit, [f"labels are ILSVRC-{year} class numbers minus 1"]
    if year == 2012 and is_kaggle(folder):
        return read_kaggle(folder), ["labels are in the order of WordNet identifiers"]
    other = f"the one of {kits[0].year} is there" if kits else "none is there"
    raise UserError(
        f"{folder} lacks the development kit of {year} ({other}); put {KITS[year]} beside the "
        "archives"
    )


def _locate(folder: Path, year: int, split: str) -> Path:
    """Where the images of a split are: an archive, or a folder."""
    names = [f"ILSVRC{year}_{images}_{split}" for images in ("images", "img")]
    for name in [f"{name}.tar" for name in names] + names + [split]:
        if (folder / name).exists():
            return folder / name
    for place in IMAGES:
        if (folder / place / split).is_dir():
            return folder / place / split
    wanted = {2010: "images", 2012: "img"}[year]
    raise UserError(f"{folder} lacks the {split} images: ILSVRC{year}_{wanted}_{split}.tar")


def _find_images(place: Path) -> _Images:
    """The images of an archive or folder."""
    if place.is_file():
        members, reader = index_images(place), Reader(place)
        paths = [member.path for member in members]
        return _Images(place, paths, lambda i: reader(members[i]), lambda: [place])
    paths = []
    archived: dict[int, tuple[Path, Member]] = {}
    for inside, folders, names in os.walk(place, followlinks=True):
        folders.sort()
        below = os.path.relpath(inside, place)
        for name in sorted(name for name in names if not name.startswith(".")):
            if name.lower().endswith(".tar"):  # of one class: the train archive unpacked once
                archive = Path(inside, name)
                members = index_images(archive)
                archived |= {len(paths) + i: (archive, member) for i, member in enumerate(members)}
                paths += [f"{below}/{name}/{member.path}" for member in members]
            elif name.lower().endswith(EXTENSIONS):
                paths.append(f"{below}/{name}")

    def read(i: int) -> bytes:
        if i not in archived:
            return read_encoded(f"{place}/{paths[i]}")
        archive, member = archived[i]
        return Reader(archive)(member)  # a thousand of them are too many to hold open

    def files() -> list[Path]:
        loose = (place / path for i, path in enumerate(paths) if i not in archived)
        return [*dict.fromkeys(archive for archive, _ in archived.values()), *loose]

    return _Images(place, paths, read, files)


def _patches(folder: Path) -> _Images:
    place = next((folder / name for name in _PATCHES if (folder / name).exists()), None)
    return _find_images(place) if place else _NO_IMAGES


def _training(kit: Devkit, images: _Images, patches: _Images) -> Split:
    """Images that say their class themselves: n07711080_123.JPEG, or a folder of that name."""
    labels = {wnid: label for label, wnid in enumerate(kit.wnids)}
    indices: dict[tuple[int, str], int] = {}  # of several with one key the last counts
    for index, path in enumerate(images.paths):
        wnid = _wnid(path)
        if wnid is None or wnid not in labels:
            raise UserError(
                f"{path} in {images.place} is of no class of ILSVRC-{kit.year}; is the "
                "development kit that of another year?"
            )
        indices[labels[wnid], f"train/{wnid}/{path.rpartition('/')[2]}"] = index
    if not indices:
        raise UserError(f"no images in {images.place}; get the archive again")
    found = [(label, key, index) for (label, key), index in sorted(indices.items())]
    return _split(images, found, _replacements(patches, "train"), patches)


def _wnid(path: str) -> str | None:
    """The class in an image's name, else in the nearest folder's or inner archive's name."""
    found = (_WNID.match(part) for part in reversed(path.split("/")))
    return next((match[0] for match in found if match), None)


def _numbered(
    split: str,
    images: _Images,
    labels: npt.NDArray[np.int64],
    patches: _Images,
) -> Split:
    """Images whose labels are the lines of a list."""
    by_name = images.by_name()
    names = sorted(by_name)
    lines = _lines(images.place, names, labels)
    found = [
        (int(labels[line]), f"{split}/{name}", by_name[name])
        for line, name in zip(lines, names, strict=True)
    ]
    return _split(images, found, _replacements(patches, split), patches)


def _lines(place: Path, names: Sequence[str], labels: npt.NDArray[np.int64]) -> list[int]:
    """The line of each image: the number in its name less 1; where none has one, its place by name.

    Numbers first, whatever the counts: one image missing and one too many would shift all between.
    """
    numbers = [_NUMBER.search(name) for name in names]
    if not any(numbers) and len(names) == len(labels):
        return list(range(len(names)))
    lines = [int(number[1]) - 1 if number else -1 for number in numbers]
    known = [0 <= line < len(labels) and labels[line] >= 0 for line in lines]
    if not names or not all(known):
        stranger = f", none of them for {names[known.index(False)]}" if names else ""
        raise UserError(
            f"{place} has {len(names)} images but the ground truth {len(labels)} lines{stranger}; "
            "they do not belong together: get both again"
        )
    return lines


def _test(folder: Path, kit: Devkit) -> tuple[_Images, npt.NDArray[np.int64] | None]:
    """The test images and their labels, where both are there; of 2012 there are none."""
    if kit.year != 2010:
        return _NO_IMAGES, None
    labels, file = kit.test, folder / TEST_LABELS
    if file.is_file():
        labels = read_labels(file.read_bytes(), str(file), len(kit.wnids))
    if labels is None:
        return _NO_IMAGES, None
    try:
        place = _locate(folder, kit.year, "test")
    except UserError:  # the list alone is no test set
        return _NO_IMAGES, None
    return _find_images(place), labels


def _replacements(patches: _Images, split: str) -> Mapping[str, int]:
    """Name → index of the patch images of a split; one of the folders in a path is its name."""
    return {
        path.rpartition("/")[2]: index
        for index, path in enumerate(patches.paths)
        if split in path.split("/")[:-1]
    }


def _split(
    images: _Images,
    found: Sequence[tuple[int, str, int]],
    replacements: Mapping[str, int],
    patches: _Images,
) -> Split:
    """A split of (label, key, index in `images`), with the replacements read instead."""
    keys = [as_text(key) for _, key, _ in found]
    indices = np.array([index for _, _, index in found], dtype=np.int64)
    labels = np.array([label for label, _, _ in found], dtype=np.int64)
    replaced = {
        i: replacements[name]
        for i, (_, key, _) in enumerate(found)
        if (name := key.rpartition("/")[2]) in replacements
    }

    def read(i: int) -> bytes:
        return patches.read(replaced[i]) if i in replaced else images.read(int(indices[i]))

    return Split(keys, labels, read)
