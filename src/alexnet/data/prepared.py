"""Prepared sets: opened at once, each image read from mapped memory without a search."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.data.manifest import (
    MEAN,
    NAME,
    Manifest,
    PreparedSplit,
    read_manifest,
    sha256,
)
from alexnet.data.shards import OpenShard, Shard, open_shard
from alexnet.data.sources import Source, Split
from alexnet.data.statistics import Components, Statistics
from alexnet.errors import UserError

STATE = ".prepare"
"""The folder in which an unfinished set keeps what a resumption needs."""


def holds_prepared(path: Path) -> bool:
    """Whether a folder is a prepared set, be it unfinished or damaged.

    A `manifest.json` alone proves nothing: other programs name their files so too.
    """
    if (path / STATE).is_dir():
        return True
    ours = (path / MEAN).is_file() or any(path.glob("*-of-*.arrow"))
    return ours and (path / NAME).is_file()


def open_prepared(folder: Path) -> Source:
    """Open a prepared set, with its statistics; only labels and places are read.

    Images come as they are stored: JPEG or PPM files of `read_manifest(folder).settings.size`
    pixels each way.

    Raises:
        UserError: it is unfinished, or a file is missing or damaged.
    """
    manifest = _finished(folder)
    splits = {name: _split(folder, manifest.splits[name]) for name in manifest.splits}
    return Source(
        name=manifest.name,
        kind=manifest.kind,
        classes=tuple(manifest.classes),
        train=splits["train"],
        validation=splits["validation"],
        mirror=manifest.mirror,
        crop=manifest.crop,
        notes=tuple(manifest.notes),
        test=splits.get("test"),
        class_ids=tuple(manifest.class_ids),
        year=manifest.year,
        statistics=_statistics(folder, manifest),
        validation_fraction=manifest.made.get("validation_fraction"),
        files=lambda: sorted(
            folder / shard.file for split in manifest.splits.values() for shard in split.shards
        ),
    )


def verify(folder: Path) -> None:
    """Compare every file of a prepared set with its checksum.

    Raises:
        UserError: the first that is missing or differs.
    """
    manifest = _finished(folder)
    expected = {MEAN: manifest.mean_sha256}
    for split in manifest.splits.values():
        expected |= {shard.file: shard.sha256 for shard in split.shards}
    for name, checksum in expected.items():
        try:
            damaged = sha256(folder / name) != checksum
        except OSError as error:
            raise UserError(_damaged(folder / name, error.strerror)) from None
        if damaged:
            raise UserError(_damaged(folder / name, "its checksum differs"))


@dataclass(frozen=True)
class PreparedDescription:
    """What `alexnet info` shows of a prepared set."""

    path: str
    manifest: Manifest

    def to_json(self) -> dict[str, Any]:
        """The manifest, and where it is."""
        return {"path": self.path, "images": self.manifest.images, **self.manifest.to_json()}

    def lines(self) -> list[str]:
        """The same for people."""
        manifest, settings = self.manifest, self.manifest.settings
        stored = "raw" if settings.encoding == "raw" else f"JPEG, quality {settings.quality}"
        deviations = ", ".join(f"{value:.2f}" for value in manifest.components["deviations"])
        lines = [
            f"{manifest.name}: {len(manifest.classes)} classes, {manifest.images} images of "
            f"{settings.size}x{settings.size} pixels ({stored}), made from {manifest.kind}",
            *(_split_line(name, split) for name, split in manifest.splits.items()),
            f"  colour deviations along the principal components: {deviations}",
            *(f"  {note}" for note in manifest.notes),
        ]
        lines += [f"  skipped {entry['key']}: {entry['reason']}" for entry in manifest.skipped]
        return lines


def describe_prepared(folder: Path) -> PreparedDescription:
    """What a prepared set holds.

    Raises:
        UserError: it is unfinished, or its manifest is damaged.
    """
    return PreparedDescription(str(folder), _finished(folder))


def _split_line(name: str, split: PreparedSplit) -> str:
    per_class = split.images_per_class
    size = sum(shard.bytes for shard in split.shards)
    return (
        f"  {name:<10} {split.images} images, {min(per_class)} to {max(per_class)} a class, "
        f"{size / 1e6:.1f} MB in {len(split.shards)} shards"
    )


def _finished(folder: Path) -> Manifest:
    if not (folder / NAME).is_file() and (folder / STATE).is_dir():
        raise UserError(
            f"{folder} is not finished; run `alexnet prepare` again with the same source and "
            "options to complete it"
        )
    return read_manifest(folder)


def _statistics(folder: Path, manifest: Manifest) -> Statistics:
    components = {name: np.array(values) for name, values in manifest.components.items()}
    try:
        mean = np.load(folder / MEAN, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(_damaged(folder / MEAN, error)) from None
    size = manifest.settings.size
    if mean.shape != (size, size, 3):
        raise UserError(_damaged(folder / MEAN, f"its shape is {mean.shape}"))
    return Statistics(mean, Components(components["vectors"], components["deviations"]))


def _split(folder: Path, split: PreparedSplit) -> Split:
    """The images of all shards of a split; 20 bytes of memory each."""
    shards = [_open(folder, shard) for shard in split.shards]
    starts = np.concatenate([shard.starts for shard in shards])
    lengths = np.concatenate([shard.lengths for shard in shards])
    ends = np.cumsum([len(shard.labels) for shard in shards]).tolist()

    def read(i: int) -> bytes:
        start = starts[i]
        return shards[bisect_right(ends, i)].memory[start : start + lengths[i]]

    keys = _Keys([shard.keys for shard in shards], ends)
    return Split(keys, np.concatenate([shard.labels for shard in shards]), read)


def _open(folder: Path, shard: Shard) -> OpenShard:
    path = folder / shard.file
    try:
        size = path.stat().st_size
        if size != shard.bytes:
            raise ValueError(f"it has {size} bytes, not {shard.bytes}")
        opened = open_shard(path)
        if len(opened.labels) != shard.images:
            raise ValueError(f"it has {len(opened.labels)} images, not {shard.images}")
    except (OSError, ValueError) as error:
        raise UserError(_damaged(path, getattr(error, "strerror", None) or error)) from None
    return opened


def _damaged(path: Path, reason: object) -> str:
    said = " ".join(str(reason).split())
    return f"{path} is missing or damaged ({said}); delete {path.parent} and prepare the set again"


class _Keys(Sequence[str]):
    """The names of the images, made into strings when they are asked for."""

    def __init__(self, parts: Sequence[Any], ends: Sequence[int]) -> None:
        self._parts = parts
        self._ends = ends

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        index = range(len(self))[i]
        part = bisect_right(self._ends, index)
        before = self._ends[part - 1] if part else 0
        return self._parts[part][index - before].as_py()

    def __iter__(self) -> Iterator[str]:
        for part in self._parts:
            for chunk in part.chunks:
                yield from chunk.to_pylist()
