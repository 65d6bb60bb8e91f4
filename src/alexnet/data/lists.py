"""CSV lists of images: a column `path`, a column `label`, perhaps a column `split`.

Paths are relative to the list's folder. Labels are names; the classes are sorted by name, or by
value if all are whole numbers. Splits are train, val (or valid, validation) and test; without that
column images are held out by content, as in a folder without val/. Test images may lack a label,
and are left out then.
"""

import csv
import os
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
        if bad := next((row.path for row in unlabelled if row.split != "test"), None):
            raise UserError(f"{path} has no label for {bad!r}; only test images may have none")
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
    if undivided := split(""):
        train, validation = hold_out(undivided, validation_fraction)
    if train is None:
        raise UserError(f"{path} lists no training images; the column split needs a 'train'")
    if validation is None and test is not None:
        validation, test = test, None
        notes.append("test images serve as the validation set, for the list has no other")
    if validation is None:
        train, validation = hold_out(train, validation_fraction)
    return Source(
        name=as_text(path.stem),
        kind="csv",
        classes=tuple(classes),
        train=train,
        validation=validation,
        test=test,
        notes=tuple(notes),
        files=lambda: [path.parent / row.path for row in rows],
    )


def _read(path: Path) -> list[_Row]:
    """All lines of a list, checked."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [row for row in csv.reader(file, delimiter=delimiter) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path} as a list: {error}") from None
    header = [name.strip().lower() for name in lines[0]] if lines else []
    if "path" in header and "label" in header:
        del lines[0]
    elif len(header) in (2, 3):
        header = ["path", "label", "split"][: len(header)]
    if "path" not in header or not lines:
        raise UserError(f"{path} is no list of images; wanted are lines of path,label[,split]")
    rows = [_row(path, header, line) for line in lines]
    if len({row.path for row in rows}) < len(rows):
        raise UserError(f"{path} lists an image twice; every path may be there once")
    return rows


def _row(path: Path, header: list[str], line: list[str]) -> _Row:
    """One line, with its file there and its split known."""
    if len(line) != len(header):
        raise UserError(f"{path}: the line {','.join(line)!r} has not {len(header)} columns")
    values = {name: value.strip() for name, value in zip(header, line, strict=True)}
    if not (path.parent / values["path"]).is_file():
        raise UserError(f"{path} lists {values['path']!r}, which is not in {path.parent}")
    split = values.get("split")
    if split is not None and split.lower() not in _SPLITS:
        raise UserError(f"{path}: {split!r} is no split; wanted are train, val and test")
    return _Row(values["path"], values["label"], _SPLITS[split.lower()] if split else "")
