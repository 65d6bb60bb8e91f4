"""Parquet files as the Hugging Face hub ships image sets.

A split is one or more files, `train-00000-of-00294.parquet` and so on, perhaps in a folder `data`,
or `train/0000.parquet` and so on, as the hub's own conversion has them. Columns: an image,
struct<bytes: binary, path: string>, and an integer label, whose class names the schema's metadata
holds under "huggingface". ImageNet comes so with labels in the order of WordNet identifiers, unlike
the archives.
"""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet.data.holdout import hold_out
from alexnet.data.sources import Source, Split, as_text
from alexnet.errors import UserError

_NAME = re.compile(r"(train|validation|valid|val|test)\b.*\.parquet", re.IGNORECASE)
_SPLITS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
_GROUPS_KEPT = 4  # row groups held in memory: readers go through them one after the other


def holds_parquet(path: Path) -> bool:
    """Whether a path is a Parquet file or a folder with such files by split."""
    return path.suffix == ".parquet" if path.is_file() else bool(_files(path))


def open_parquet(path: Path, *, validation_fraction: float = 0.2) -> Source:
    """Open a file or a folder of files; images are read a row group at a time.

    Args:
        path: a Parquet file, all of whose rows are training images, or a folder.
        validation_fraction: the part held out where there is no other split.

    Raises:
        UserError: the files cannot be read or are of another layout.
    """
    files = {"train": [path]} if path.is_file() else _files(path)
    tables = {split: _Table(split, paths) for split, paths in files.items()}
    splits = {name: rows for name, table in tables.items() if len(rows := table.split())}
    train, validation, test = (splits.get(name) for name in ("train", "validation", "test"))
    if train is None:
        raise UserError(f"{path} has no training images; wanted are files train-*.parquet")
    notes = tables["train"].notes()
    if test is not None and (unknown := test.labels < 0).any():
        notes.append(f"{unknown.sum()} test images have no label and are left out")
        test = test.take(np.flatnonzero(~unknown)) if not unknown.all() else None
    if validation is None and test is not None:
        validation, test = test, None
        notes.append("test images serve as the validation set, for there is no other")
    divided = validation is None
    if validation is None:
        train, validation = hold_out(train, validation_fraction)
    classes = tables["train"].classes(int(max(train.labels.max(), validation.labels.max())) + 1)
    for labelled in (train, validation, test):
        if labelled and not 0 <= labelled.labels.min() <= labelled.labels.max() < len(classes):
            raise UserError(f"{path} has a label that is none of its {len(classes)} classes")
    return Source(
        name=as_text(path.resolve().stem),
        kind="parquet",
        classes=classes,
        train=train,
        validation=validation,
        test=test,
        divided=divided,
        notes=tuple(notes),
        files=lambda: [file for paths in files.values() for file in paths],
    )


def _files(folder: Path) -> dict[str, list[Path]]:
    """Split → its files in order, from the folder, its folder `data` or its folders of splits."""
    return _named_files(folder) or _named_files(folder / "data") or _files_in_folders(folder)


def _named_files(folder: Path) -> dict[str, list[Path]]:
    """Files whose names begin with the split's."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.parquet")):
        if match := _NAME.fullmatch(path.name):
            found.setdefault(_SPLITS[match[1].lower()], []).append(path)
    return found


def _files_in_folders(folder: Path) -> dict[str, list[Path]]:
    """Files in folders called like the splits."""
    found: dict[str, list[Path]] = {}
    for name, split in _SPLITS.items():
        if paths := sorted((folder / name).glob("*.parquet")):
            found.setdefault(split, []).extend(paths)
    return found


class _Table:
    """The rows of one split over all its files."""

    def __init__(self, name: str, paths: Sequence[Path]) -> None:
        self._name = name
        self._paths = paths
        self._lock = threading.Lock()  # a file is read by one thread at a time
        self._kept: OrderedDict[int, Any] = OrderedDict()  # group → its images, last used last
        self._files = [_opened(path) for path in paths]
        self._schema = self._files[0].schema_arrow
        self._image, self._label = _columns(paths[0], self._schema)
        for place, file in zip(paths, self._files, strict=True):
            _check_embedded(place, file, f"{self._image}.bytes")
        self._groups = [
            (file, group, file.metadata.row_group(group).num_rows)
            for file in self._files
            for group in range(file.metadata.num_row_groups)
        ]
        self._ends = np.cumsum([rows for _, _, rows in self._groups])

    def split(self) -> Split:
        """Keys are the paths in the image column, if all have one of their own."""
        labels: list[Any] = []
        paths: list[str | None] = []
        for place, file in zip(self._paths, self._files, strict=True):
            with _complaining(place):
                labels.append(self._column(file, self._label))
                paths += self._column(file, f"{self._image}.path").field("path").to_pylist()
        if None in paths or len(set(paths)) < len(paths):
            paths = [f"{row:08d}" for row in range(len(paths))]
        keys = [f"{self._name}/{path}" for path in paths]
        return Split(keys, _integers(labels), self._read)

    def classes(self, at_least: int) -> tuple[str, ...]:
        """The names in the metadata; without them the labels' numbers."""
        names = _features(self._schema).get(self._label, {}).get("names")
        return tuple(names or (str(label) for label in range(at_least)))

    def notes(self) -> list[str]:
        """Which column was taken for the labels, if its name leaves that open."""
        return [] if self._label == "label" else [f"the labels are the column {self._label!r}"]

    @staticmethod
    def _column(file: Any, name: str) -> Any:
        return file.read(columns=[name]).column(0).combine_chunks()

    def _read(self, row: int) -> bytes:
        group = int(np.searchsorted(self._ends, row, side="right"))
        images = self._load(group)
        content = images[row - int(self._ends[group]) + len(images)].as_py()
        return content or b""

    def _load(self, group: int) -> Any:
        """The encoded images of a row group."""
        from pyarrow import ArrowException

        with self._lock:
            if group not in self._kept:
                file, index, _ = self._groups[group]
                try:
                    table = file.read_row_group(index, columns=[f"{self._image}.bytes"])
                except ArrowException as error:  # a `Split` promises OSError
                    raise OSError(None, str(error).partition("\n")[0]) from error
                self._kept[group] = table.column(0).combine_chunks().field("bytes")
                if len(self._kept) > _GROUPS_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(group)
            return self._kept[group]


def _opened(path: Path) -> Any:
    from pyarrow.parquet import ParquetFile

    with _complaining(path):
        return ParquetFile(path)


def _columns(path: Path, schema: Any) -> tuple[str, str]:
    """The names of the image and the label column."""
    from pyarrow import types

    images = [f.name for f in schema if types.is_struct(f.type) and _has_bytes(f.type)]
    integers = [f.name for f in schema if types.is_integer(f.type)]
    if not images or not integers:
        raise UserError(
            f"{path} has no column of images (struct<bytes, path>) with integer labels beside it; "
            f"it has: {', '.join(schema.names)}"
        )
    features = _features(schema)
    classes = [name for name in integers if features.get(name, {}).get("_type") == "ClassLabel"]
    return images[0], _label_column(path, classes or integers)


def _label_column(path: Path, integers: Sequence[str]) -> str:
    """Of several columns the one called `label`: another may be a size or a row's number."""
    if "label" in integers:
        return "label"
    if len(integers) > 1:
        raise UserError(
            f"{path} has several columns that may be the labels: {', '.join(integers)}; "
            "call the one that is meant 'label'"
        )
    return integers[0]


def _features(schema: Any) -> dict[str, Any]:
    """What the `datasets` library has noted of each column."""
    metadata = (schema.metadata or {}).get(b"huggingface", b"{}")
    features: dict[str, Any] = json.loads(metadata).get("info", {}).get("features", {})
    return features


def _check_embedded(path: Path, file: Any, column: str) -> None:
    """Refuse a file that names its images only; the counts of nulls are known without reading.

    Raises:
        UserError: no row has an image's bytes.
    """
    groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
    nulls = [_nulls(group, column) for group in groups]
    if nulls and nulls == [group.num_rows for group in groups]:
        raise UserError(
            f"{path} holds the paths of its images, not the images; write it with their bytes, or "
            "list the paths in a CSV file of path,label"
        )


def _nulls(group: Any, name: str) -> int | None:
    """How many values of a column are null, if its statistics say so."""
    columns = (group.column(index) for index in range(group.num_columns))
    statistics = next(c.statistics for c in columns if c.path_in_schema == name)
    return statistics.null_count if statistics and statistics.has_null_count else None


def _has_bytes(struct: Any) -> bool:
    return {field.name for field in struct} >= {"bytes", "path"}


def _integers(columns: Sequence[Any]) -> npt.NDArray[np.int64]:
    return np.concatenate([column.fill_null(-1).to_numpy().astype(np.int64) for column in columns])


@contextmanager
def _complaining(path: Path) -> Iterator[None]:
    """Turns what pyarrow raises on a damaged file into one line."""
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"cannot read {path}: {reason}; get the file again") from None
