"""Image folders: `train/CLASS/*.jpg` with `val/` beside it, or `CLASS/*.jpg`.

Without a validation folder the images are split by content: an image is held out if the hash of
its bytes, read as a fraction, is below the wanted one. So the split needs no file of its own, it
is the same on every machine, identical files share a side, and new files do not move old ones.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alexnet.data.class_names import matched, nearly
from alexnet.data.contents import digests
from alexnet.data.encoded import read_encoded
from alexnet.data.images import EXTENSIONS, NOT_READ
from alexnet.data.sources import LeftOut, Source, Split, as_text
from alexnet.errors import UserError

LAYOUT = "train/CLASS/*.jpg with val/ beside it, or CLASS/*.jpg"
_TRAIN = "train"
HELD_OUT = ("val", "valid", "validation", "test")  # the first that is there serves
_OF_SYSTEMS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
_OTHER_FORMAT = "in a format that is not read"


@dataclass(frozen=True)
class _Classes:
    """The class folders of a folder, by name."""

    # Sorted paths, relative to the folder that was opened.
    images: dict[str, list[str]] = field(default_factory=dict)
    # (path, reason) of what is called an image but is none.
    unusable: list[tuple[str, str]] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)  # photographs in formats that are not read
    beside: list[str] = field(default_factory=list)  # images in no folder of a class

    def paths(self, names: Sequence[str]) -> list[str]:
        """The images of these classes, one class after the other."""
        return [path for name in names for path in self.images.get(name, [])]

    def labels(self, names: Sequence[str]) -> npt.NDArray[np.int64]:
        """(N,) the class of each of `paths`."""
        counts = [len(self.images.get(name, [])) for name in names]
        return np.repeat(np.arange(len(names), dtype=np.int64), counts)

    def renamed(self, names: Mapping[str, str]) -> "_Classes":
        """The same, with these classes called otherwise."""
        images: dict[str, list[str]] = {}
        for name, paths in self.images.items():
            images.setdefault(names.get(name, name), []).extend(paths)
        return replace(self, images=images)

    def without(self, faults: Mapping[str, str]) -> "_Classes":
        """The same, where these images, path → reason, turned out to be unusable."""
        images = {
            name: [path for path in paths if path not in faults]
            for name, paths in self.images.items()
        }
        return replace(self, images=images, unusable=[*self.unusable, *faults.items()])


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
    folders, _ = _look(folder)
    train = _named(folders, _TRAIN)
    held_out = next((name for wanted in HELD_OUT if (name := _named(folders, wanted))), None)
    if train and (held_out or _look(folder / train)[0]):
        return _open_splits(folder, train, held_out, validation_fraction)
    _check_not_misplaced(folder, folders, held_out)
    return _open_classes(folder, "", validation_fraction)


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
        return _open_classes(folder, train, validation_fraction)
    classes, seen = _training_classes(folder, train), _find_classes(folder, held_out)
    names = sorted(classes.images)
    seen = seen.renamed(matched(seen.images, names))
    if strangers := sorted(set(seen.images) - set(names)):
        raise UserError(
            f"{folder / held_out} has the class {strangers[0]!r}, which {folder / train} lacks"
            f"{nearly(strangers[0], names)}; both need the same class folders"
        )
    if not any(seen.images.values()):
        raise UserError(f"{folder / held_out} has no images in its class folders")
    notes = [f"{held_out}/ has no images of class {n!r}" for n in names if not seen.images.get(n)]
    if held_out.lower() == "test":
        notes.insert(0, f"{held_out}/ serves as the validation set, for there is no val/")
    train_paths, seen_paths = classes.paths(names), seen.paths(names)
    test = _Classes() if held_out.lower() == "test" else _test_classes(folder, names)
    left_out = _left_out(classes, seen, test)
    test_paths = test.paths(names)
    return Source(
        name=_name(folder),
        kind="folder",
        classes=tuple(map(as_text, names)),
        train=_split(folder, train_paths, classes.labels(names)),
        validation=_split(folder, seen_paths, seen.labels(names)),
        notes=(*notes, *_noted(left_out)),
        unusable=_named_in_text([*classes.unusable, *seen.unusable, *test.unusable]),
        left_out=left_out,
        files=lambda: [folder / path for path in (*train_paths, *seen_paths, *test_paths)],
        test=_split(folder, test_paths, test.labels(names)) if test_paths else None,
    )


def _test_classes(folder: Path, names: Sequence[str]) -> _Classes:
    """What is in test/, where it has no other classes: in some data sets it has no labels."""
    there = _named(_look(folder)[0], "test")
    inside = _look(folder / there)[0] if there else []
    same = matched(inside, names)
    if not there or not inside or len(same) < len(inside):
        return _Classes()
    return _find_classes(folder, there).renamed(same)


def _open_classes(folder: Path, inside: str, validation_fraction: float) -> Source:
    """A folder without validation images: `folder/inside/CLASS/*`, split by content."""
    classes, contents = _readable(folder, inside, _training_classes(folder, inside))
    names = sorted(classes.images)
    paths, labels = classes.paths(names), classes.labels(names)
    everything = _split(folder, paths, labels)
    held_out = in_validation([contents[path] for path in paths], labels, validation_fraction)
    left_out = _left_out(classes)
    notes = _noted(left_out)
    if not held_out.any():
        advice = "; ".join(("add images", *notes))
        raise UserError(
            f"no class of {folder / inside} has two different images, so that none can be held "
            f"out for validation; {advice}"
        )
    return Source(
        name=_name(folder),
        kind="folder",
        classes=tuple(map(as_text, names)),
        train=everything.take(np.flatnonzero(~held_out)),
        validation=everything.take(np.flatnonzero(held_out)),
        divided=True,
        notes=notes,
        unusable=_named_in_text(classes.unusable),
        left_out=left_out,
        files=lambda: [folder / path for path in paths],
    )


def _readable(folder: Path, inside: str, classes: _Classes) -> tuple[_Classes, dict[str, bytes]]:
    """The classes without the images that may not be read, and digests of the others by path.

    Raises:
        UserError: a class has no other images.
    """
    paths = classes.paths(sorted(classes.images))
    outcomes = dict(zip(paths, digests([folder / path for path in paths]), strict=True))
    faults = {path: outcome for path, outcome in outcomes.items() if isinstance(outcome, str)}
    readable = classes.without(faults)
    _check_filled(folder, inside, readable)
    return readable, {p: outcome for p, outcome in outcomes.items() if isinstance(outcome, bytes)}


def _split(folder: Path, paths: Sequence[str], labels: npt.NDArray[np.int64]) -> Split:
    keys = [as_text(path) for path in paths]
    return Split(keys, labels, lambda i: read_encoded(f"{folder}/{paths[i]}"))


def _named_in_text(unusable: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((as_text(path), reason) for path, reason in unusable)


def _training_classes(folder: Path, inside: str) -> _Classes:
    """`_find_classes`, with at least two classes and images in each."""
    classes = _find_classes(folder, inside)
    place = folder / inside
    if len(classes.images) == 1:
        raise UserError(
            f"{place} has one class only, {next(iter(classes.images))!r}; wanted are two or more: "
            f"{LAYOUT}"
        )
    _check_filled(folder, inside, classes)
    return classes


def _check_filled(folder: Path, inside: str, classes: _Classes) -> None:
    """Refuse classes without images: the network would have an answer that is never right."""
    for name, paths in sorted(classes.images.items()):
        if not paths:
            place = _below(inside, name)
            faults = [f"{fault} ({p})" for p, fault in classes.unusable if _is_below(p, place)]
            raise UserError(
                f"class {name!r} has no images in {folder / place}: "
                f"{faults[0] if faults else _contents(folder / place)}; "
                "add some or remove the folder"
            )


def _find_classes(folder: Path, inside: str) -> _Classes:
    """The classes of `folder/inside`.

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
    beside = [name for name in files if name.lower().endswith((*EXTENSIONS, *NOT_READ))]
    found = _Classes(beside=[_below(inside, name) for name in beside])
    for name in folders:
        images = sorted(_images(folder, _below(inside, name), set()))
        found.images[name] = [path for path, fault in images if not fault]
        found.passed_over.extend(path for path, fault in images if fault == _OTHER_FORMAT)
        found.unusable.extend(
            (path, fault) for path, fault in images if fault not in ("", _OTHER_FORMAT)
        )
    return found


def _images(folder: Path, inside: str, seen: set[str]) -> Iterator[tuple[str, str]]:
    """(path, why it cannot be used or "") of the images in `folder/inside` and below, in no order.

    Args:
        folder: what paths are relative to.
        inside: where to look.
        seen: folders that were looked into; links may lead back to where they are.
    """
    real = os.path.realpath(folder / inside)
    if real in seen:
        return
    if any(_lies_in(place, real) for place in (folder, (folder / inside).parent)):
        yield inside, "a link to a folder that it lies in"  # with the images of other classes
        return
    seen.add(real)
    try:
        entries = _visible(folder / inside)
    except OSError as error:
        yield inside, error.strerror or str(error)
        return
    for entry in entries:
        path = f"{inside}/{entry.name}"
        if _is_folder(entry):
            yield from _images(folder, path, seen)
        else:
            yield from _image(entry, path)


def _below(inside: str, name: str) -> str:
    """The path of a name in a folder, "" being the one that was opened."""
    return f"{inside}/{name}" if inside else name


def _is_below(path: str, inside: str) -> bool:
    return path == inside or path.startswith(f"{inside}/")


def _lies_in(place: Path, real: str) -> bool:
    return f"{os.path.realpath(place)}{os.sep}".startswith(f"{real}{os.sep}")


def images_in(folder: Path) -> list[str]:
    """Sorted paths, relative to a folder, of the images in it and below, as in a data set."""
    found: list[tuple[str, str]] = []
    for entry in _entries(folder):
        found += (
            _images(folder, entry.name, set()) if _is_folder(entry) else _image(entry, entry.name)
        )
    return sorted(path for path, _ in found)


def _image(entry: "os.DirEntry[str]", path: str) -> list[tuple[str, str]]:
    """An image with its fault or "", or nothing."""
    if entry.name.lower().endswith(NOT_READ):
        return [(path, _OTHER_FORMAT)]
    return [(path, _fault(entry))] if _promises_an_image(entry.name) else []


def _look(folder: Path) -> tuple[list[str], list[str]]:
    """Sorted names of the folders and files in a folder, without hidden ones."""
    entries = _entries(folder)
    folders = sorted(entry.name for entry in entries if _is_folder(entry))
    files = sorted(entry.name for entry in entries if not _is_folder(entry))
    return folders, files


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    """`_visible`, of a folder without which there is no data set."""
    try:
        return _visible(folder)
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror}") from None


def _visible(folder: Path) -> "list[os.DirEntry[str]]":
    """What is in a folder, without hidden things."""
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not _hidden(entry.name)]


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _fault(entry: "os.DirEntry[str]") -> str:
    """Why there is no file behind a name; "" if there is one."""
    with suppress(OSError):
        if entry.is_file():
            return ""
    return "a link to no file" if entry.is_symlink() else "no regular file"


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _OF_SYSTEMS


def _promises_an_image(name: str) -> bool:
    return not _hidden(name) and name.lower().endswith(EXTENSIONS)


def _named(names: Iterable[str], wanted: str) -> str | None:
    return next((name for name in names if name.lower() == wanted), None)


def _name(folder: Path) -> str:
    return as_text(folder.resolve().name)


def _contents(folder: Path) -> str:
    """What a folder without images has instead, for an error's sake."""
    files = {name for _, _, names in os.walk(folder) for name in names}
    names = {name for name in files if not _hidden(name) and not _promises_an_image(name)}
    if not names:
        return "it is empty"
    some = ", ".join(sorted({Path(name).suffix or name for name in names})[:5])
    return f"only other files ({some}), where {', '.join(EXTENSIONS)} are read"


def _left_out(*parts: _Classes) -> tuple[LeftOut, ...]:
    """The photographs of each format that is not read, and the images beside the class folders."""
    passed_over = [path for part in parts for path in part.passed_over]
    beside = [path for part in parts for path in part.beside]
    endings = Counter(Path(path).suffix.lower() for path in passed_over)
    found = [
        LeftOut(count, f"{ending} files are not read", "export them as JPEG")
        for ending, count in endings.most_common()
    ]
    if beside:
        place = f"images lie beside the class folders ({as_text(beside[0])} …)"
        found.append(LeftOut(len(beside), place, "move each into the folder of its class"))
    return tuple(found)


def _noted(left_out: Iterable[LeftOut]) -> tuple[str, ...]:
    return tuple(f"{part.count} {part.what}; {part.mend}" for part in left_out)


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
