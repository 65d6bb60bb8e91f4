"""CSV lists of images: a column `path`, a column `label`, perhaps a column `split`.

Paths are relative to the list's folder. Labels are names; the classes are sorted by name, or by
value if all are whole numbers. Splits are train, val (or valid, validation) and test; without that
column images are held out by content, as in a folder without val/. Test images may lack a label,
and are left out then. Paths with backslashes, as Windows writes them, are understood.
"""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alexnet.data.encoded import read_encoded
from alexnet.data.holdout import hold_out
from alexnet.data.sources import Source, Split, as_text
from alexnet.errors import UserError

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class _Row:
    path: str
    label: str
    split: str  # "train", "validation" or "test"; "" without the column
    line: int  # of the list


def is_list(path: Path) -> bool:
    """Whether a path is a file whose name promises a list."""
    return path.is_file() and path.suffix.lower() in (".csv", ".tsv")


def open_list(path: Path, *, validation_fraction: float = 0.2) -> Source:
    """Open a list; a test split serves for validation if there is no other.

    Args:
        path: the list, separated by commas, or by tabs if its name ends in ".tsv".
        validation_fraction: the part held out where the list names no splits.

    Raises:
        UserError: a line lacks something or names no file; one line says which.
    """
    rows, notes = _read(path), []
    if unlabelled := [row for row in rows if not row.label]:
        if bad := next((row for row in unlabelled if row.split != "test"), None):
            raise UserError(
                f"line {bad.line} of {path} has no label for {bad.path!r}; only test images may "
                "have none"
            )
        notes.append(f"{len(unlabelled)} test images have no label and are left out")
        rows = [row for row in rows if row.label]
    names = {row.label for row in rows}
    numbers = all(name.isdecimal() for name in names)
    classes = sorted(names, key=lambda name: (int(name), name)) if numbers else sorted(names)
    if len(classes) < 2:
        raise UserError(f"{path} lists one class only, {classes[0]!r}; wanted are two or more")
    places = {name: label for label, name in enumerate(classes)}

    def split(wanted: str) -> Split | None:
        chosen = [row for row in rows if row.split == wanted]
        keys = [row.path for row in chosen]
        labels = np.array([places[row.label] for row in chosen], dtype=np.int64)
        if not keys:
            return None
        return Split(keys, labels, lambda i: read_encoded(os.fspath(path.parent / keys[i])))

    train, validation, test = split("train"), split("validation"), split("test")
    undivided, divided = split(""), False
    if undivided is not None:
        train, validation, divided = *hold_out(undivided, validation_fraction), True
    if train is None:
        raise UserError(f"{path} lists no training images; the column split needs a 'train'")
    if validation is None and test is not None:
        validation, test = test, None
        notes.append("test images serve as the validation set, for the list has no other")
    if validation is None:
        train, validation, divided = *hold_out(train, validation_fraction), True
    return Source(
        name=as_text(path.stem),
        kind="csv",
        classes=tuple(classes),
        train=train,
        validation=validation,
        test=test,
        divided=divided,
        notes=tuple(notes),
        files=lambda: [path.parent / row.path for row in rows],
    )


def _read(path: Path) -> list[_Row]:
    """All lines of a list, checked."""
    lines = _lines(path)
    header = [name.strip().lower() for name in lines[0][1]] if lines else []
    if len(header) == 1 and ";" in header[0]:
        raise UserError(
            f"{path} is separated by semicolons; save it with commas, or with tabs as .tsv"
        )
    if {"path", "label"} <= set(header):
        del lines[0]
    elif len(header) in (2, 3):
        header = ["path", "label", "split"][: len(header)]
    if not {"path", "label"} <= set(header) or not lines:
        raise UserError(f"{path} is no list of images; wanted are lines of path,label[,split]")
    rows = [_row(path, header, number, line) for number, line in lines]
    _check_unique(path, rows)
    return rows


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Number and values of the lines that are not empty."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter)
            return [(reader.line_num, values) for values in reader if values]
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8; save it as UTF-8 CSV") from None
    except (OSError, csv.Error) as error:
        raise UserError(f"cannot read {path} as a list: {error}") from None


def _row(path: Path, header: list[str], number: int, line: list[str]) -> _Row:
    """One line, with its file there and its split known."""
    where = f"line {number} of {path}"
    if len(line) != len(header):
        raise UserError(f"{where}, {','.join(line)!r}, has not {len(header)} columns")
    values = {name: value.strip() for name, value in zip(header, line, strict=True)}
    file = _with_slashes(path.parent, values["path"])
    if not _is_file(path.parent / file):
        hint = "; if it is a header, it must be path,label or path,label,split"
        raise UserError(
            f"{where} lists {file!r}, which is not in {path.parent}{hint if number == 1 else ''}"
        )
    split = values.get("split")
    if split is not None and split.lower() not in _SPLITS:
        raise UserError(f"{where}: {split!r} is no split; wanted are train, val and test")
    return _Row(file, values["label"], _SPLITS[split.lower()] if split else "", number)


def _with_slashes(folder: Path, name: str) -> str:
    """A path as it is written here, unless a file is really called so."""
    if "\\" not in name or _is_file(folder / name):
        return name
    return name.replace("\\", "/")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long, or the folder is closed to us
        return False


def _check_unique(path: Path, rows: Sequence[_Row]) -> None:
    first: dict[str, int] = {}
    for row in rows:
        if (line := first.setdefault(row.path, row.line)) != row.line:
            raise UserError(
                f"{path} lists an image twice, {row.path!r} in the lines {line} and {row.line}; "
                "every path may be there once"
            )
