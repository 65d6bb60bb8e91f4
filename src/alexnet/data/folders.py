"""Image folders: `train/CLASS/*.jpg` with `val/` beside it, or `CLASS/*.jpg`.

Without a validation folder the images are split by content: an image is held out if the hash of
its bytes, read as a fraction, is below the wanted one. So the split needs no file of its own, it
is the same on every machine, identical files share a side, and new files do not move old ones.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from alexnet.data.images import EXTENSIONS
from alexnet.data.sources import Source, Split
from alexnet.data.threads import mapped
from alexnet.errors import UserError

LAYOUT = "train/CLASS/*.jpg with val/ beside it, or CLASS/*.jpg"
_TRAIN = "train"
_VALIDATION = ("val", "valid", "validation", "test")  # the first that is there serves


def open_folder(folder: Path, *, validation_fraction: float = 0.2) -> Source:
    """Open a folder of images, one folder a class; images may lie deeper inside it.

    Classes and images are sorted by name. Hidden files and folders do not exist, nor do files
    whose names do not promise an image.

    Args:
        folder: one of the two layouts above.
        validation_fraction: the part held out where there is no validation folder.

    Raises:
        UserError: not one of the layouts; one line says what is wrong and what is wanted.
    """
    folders, files = _look(folder)
    train = _named(folders, _TRAIN)
    held_out = next((name for wanted in _VALIDATION if (name := _named(folders, wanted))), None)
    if train and (held_out or _look(folder / train)[0]):
        return _open_splits(folder, train, held_out, validation_fraction)
    _check_not_misplaced(folder, folders, held_out)
    return _open_classes(folder, "", validation_fraction, _ignored(files))


def in_validation(
    contents: Sequence[bytes], labels: npt.NDArray[np.int64], fraction: float
) -> npt.NDArray[np.bool_]:
    """Which images are held out, decided by their contents alone.

    A content whose digest, read as a fraction of all digests, is below `fraction` is held out.
    A class left with nothing on one side moves its content nearest to the threshold, if it has
    at least two; one that has a single content keeps it for training.

    Args:
        contents: N SHA-256 digests.
        labels: (N,) the class of each.
        fraction: 0 < fraction < 1.

    Returns:
        (N,) bool; equal contents are always on the same side.
    """
    classes: dict[int, set[bytes]] = {}
    for content, label in zip(contents, labels.tolist(), strict=True):
        classes.setdefault(label, set()).add(content)
    threshold = int(fraction * 2**64)
    held_out = {c for c in contents if int.from_bytes(c[:8], "big") < threshold}
    owners = Counter(content for its_contents in classes.values() for content in its_contents)
    for _, its_contents in sorted(classes.items()):
        # A content shared with other classes moves last: it would move there too.
        if its_contents <= held_out:
            held_out.remove(max(its_contents, key=lambda c: (-owners[c], c)))
        elif len(its_contents) > 1 and not its_contents & held_out:
            held_out.add(min(its_contents, key=lambda c: (owners[c], c)))
    return np.array([content in held_out for content in contents], dtype=np.bool_)


def _open_splits(
    folder: Path, train: str, held_out: str | None, validation_fraction: float
) -> Source:
    """A folder that has `train/`."""
    if held_out is None:
        return _open_classes(folder, train, validation_fraction, ())
    classes = _training_classes(folder, train)
    names = sorted(classes)
    seen = _find_classes(folder, held_out)
    if strangers := sorted(set(seen) - set(classes)):
        raise UserError(
            f"{folder / held_out} has the class {strangers[0]!r}, which {folder / train} lacks; "
            "both need the same class folders"
        )
    if not any(seen.values()):
        raise UserError(f"{folder / held_out} has no images in its class folders")
    notes = [f"{held_out}/ has no images of class {n!r}" for n in names if not seen.get(n)]
    if held_out.lower() == "test":
        notes.insert(0, f"{held_out}/ serves as the validation set, for there is no val/")
    return Source(
        name=_name(folder),
        kind="folder",
        classes=tuple(names),
        train=_split(folder, names, classes),
        validation=_split(folder, names, seen),
        notes=tuple(notes),
    )


def _open_classes(
    folder: Path, inside: str, validation_fraction: float, notes: tuple[str, ...]
) -> Source:
    """A folder without validation images: `folder/inside/CLASS/*`, split by content."""
    classes = _training_classes(folder, inside)
    names = sorted(classes)
    everything = _split(folder, names, classes)
    contents = list(mapped(_digest, [folder / key for key in everything.keys]))
    held_out = in_validation(contents, everything.labels, validation_fraction)
    if not held_out.any():
        raise UserError(
            f"no class of {folder / inside} has two different images, so that none can be held "
            "out for validation; add images"
        )
    return Source(
        name=_name(folder),
        kind="folder",
        classes=tuple(names),
        train=everything.take(np.flatnonzero(~held_out)),
        validation=everything.take(np.flatnonzero(held_out)),
        notes=notes,
    )


def _split(folder: Path, names: Sequence[str], classes: dict[str, list[str]]) -> Split:
    keys = [key for name in names for key in classes.get(name, [])]
    counts = [len(classes.get(name, [])) for name in names]
    labels = np.repeat(np.arange(len(names), dtype=np.int64), counts)

    def read(index: int) -> bytes:
        with open(f"{folder}/{keys[index]}", "rb", buffering=0) as file:  # noqa: PTH123 - 30 µs less
            return file.read()

    return Split(keys, labels, read)


def _training_classes(folder: Path, inside: str) -> dict[str, list[str]]:
    """`_find_classes`, with at least two classes and images in each."""
    classes = _find_classes(folder, inside)
    place = folder / inside
    if len(classes) == 1:
        raise UserError(
            f"{place} has one class only, {next(iter(classes))!r}; wanted are two or more: {LAYOUT}"
        )
    for name, keys in sorted(classes.items()):
        if not keys:
            raise UserError(
                f"class {name!r} has no images in {place / name}: {_contents(place / name)}; "
                "add some or remove the folder"
            )
    return classes


def _find_classes(folder: Path, inside: str) -> dict[str, list[str]]:
    """Class name → sorted keys (paths relative to `folder`) of the images of `folder/inside`.

    Raises:
        UserError: there are no class folders.
    """
    place = folder / inside
    folders, files = _look(place)
    if not folders:
        if any(map(_promises_an_image, files)):
            raise UserError(
                f"the images lie directly in {place}; put them into one folder a class: {LAYOUT}"
            )
        raise UserError(f"no images in {place}: {_contents(place)}; wanted is {LAYOUT}")
    return {name: sorted(_images(folder, PurePosixPath(inside, name))) for name in folders}


def _images(folder: Path, inside: PurePosixPath) -> Iterator[str]:
    """Keys of the images in `folder/inside` and below, in no particular order."""
    seen: set[str] = set()  # symbolic links may lead back to where they are
    for place, folders, files in os.walk(folder / inside, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _hidden(name))
        below = inside / Path(place).relative_to(folder / inside).as_posix()
        for name in files:
            if _promises_an_image(name):
                yield f"{below}/{name}"


def _look(folder: Path) -> tuple[list[str], list[str]]:
    """Sorted names of the folders and files in a folder, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not _hidden(entry.name)]
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror}") from None
    folders = sorted(entry.name for entry in visible if entry.is_dir())
    files = sorted(entry.name for entry in visible if not entry.is_dir())
    return folders, files


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"  # a leftover of unzipping on macOS


def _promises_an_image(name: str) -> bool:
    return not _hidden(name) and name.lower().endswith(EXTENSIONS)


def _named(names: Iterable[str], wanted: str) -> str | None:
    return next((name for name in names if name.lower() == wanted), None)


def _name(folder: Path) -> str:
    return folder.resolve().name


def _contents(folder: Path) -> str:
    """What a folder without images has instead, for an error's sake."""
    names = {name for _, _, files in os.walk(folder) for name in files if not _hidden(name)}
    if not names:
        return "it is empty"
    some = ", ".join(sorted({Path(name).suffix or name for name in names})[:5])
    return f"only other files ({some}), where {', '.join(EXTENSIONS)} are read"


def _ignored(files: Sequence[str]) -> tuple[str, ...]:
    """A note on images that lie beside the class folders."""
    images = [name for name in files if _promises_an_image(name)]
    if not images:
        return ()
    return (f"{len(images)} images lie beside the class folders and are left out ({images[0]} …)",)


def _check_not_misplaced(folder: Path, folders: list[str], held_out: str | None) -> None:
    """Refuse layouts that would pass for classes but are something else."""
    if held_out and _look(folder / held_out)[0]:
        raise UserError(f"{folder} has {held_out}/ but no train/; wanted is {LAYOUT}")
    if len(folders) != 1:
        return
    inner = folder / folders[0]
    inner_folders = _look(inner)[0]
    if _named(inner_folders, _TRAIN):
        raise UserError(f"{folder} itself has no train/, but {inner} has; give {inner} instead")
    if len(inner_folders) > 1:
        raise UserError(
            f"{folder} has one class only, {folders[0]!r}; if the folders in it are the classes, "
            f"give {inner} instead"
        )


def _digest(path: Path) -> bytes:
    """SHA-256 of a file. A training opens its folder twice, and need not read it twice."""
    try:
        status = path.stat()
        return _content(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


@lru_cache(maxsize=1 << 17)
def _content(path: Path, size: int, changed: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
