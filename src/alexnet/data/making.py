"""From the images of a source to complete shards, by many workers in a fixed order."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from alexnet.data import resume
from alexnet.data.images import BadImage
from alexnet.data.resume import Done, Part
from alexnet.data.shards import Layout, Record, Shard, write_shard
from alexnet.data.sources import Source, Split
from alexnet.data.square_worker import Settings, Squares
from alexnet.data.squares import WorkerPool, in_order
from alexnet.data.sums import Sums, no_sums
from alexnet.errors import UserError
from alexnet.files import write_atomically
from alexnet.progress import Meter

_CHUNK = 32  # images a worker gets at a time; their sums come back as one mean image
_GO_ON = "what is finished is kept: run the same command again to go on"


@dataclass(frozen=True)
class Job:
    """What is to be made of what."""

    source: Source
    out: Path
    settings: Settings
    shard_images: int
    strict: bool

    @property
    def splits(self) -> dict[str, Split]:
        """By the names that they have in prepared sets."""
        source = self.source
        splits = {"train": source.train, "validation": source.validation}
        return splits if source.test is None else {**splits, "test": source.test}

    @property
    def skipped(self) -> list[dict[str, str]]:
        """What was found, but could not even become an image of a split."""
        return [{"key": name, "reason": reason} for name, reason in self.source.unusable]

    @property
    def parts(self) -> list[Part]:
        """The shards, in their order."""
        return [
            part
            for name, split in self.splits.items()
            for part in resume.parts(name, len(split), self.shard_images)
        ]


@dataclass(frozen=True)
class Made:
    """All shards of a job."""

    done: dict[Part, Done]  # in their order, without their own sums: large images would fill memory
    sums: Sums  # over the training images of all
    images_per_second: float  # of what was made now


def make_shards(job: Job, workers: int) -> Made:
    """Make the shards that are not there yet.

    Raises:
        UserError: the source vanished, a worker died, or the job is strict and an image bad.
        CannotWriteError: the disk is full.
    """
    check_strict(job, job.skipped)
    done: dict[Part, Done] = {}
    sums = no_sums(job.settings.size)
    for part in job.parts:
        if record := resume.load(job.out, part):
            check_strict(job, record.skipped)
            done[part], sums = _taken_into(sums, record)
    missing = [part for part in job.parts if part not in done]
    total = sum(len(split) for split in job.splits.values())
    left = sum(part.stop - part.start for part in missing)
    began = time.monotonic()
    with (
        WorkerPool(min(workers, -(-left // _CHUNK)), job.settings) as pool,
        closing(in_order(_maker(job, pool), _chunks(missing), workers)) as squares,
        Meter("preparing images", total, start=total - left) as meter,
    ):
        for part in missing:
            record = _write(job, part, squares, meter)
            resume.save(job.out, part, record)
            done[part], sums = _taken_into(sums, record)
    rate = left / (time.monotonic() - began)
    return Made({part: done[part] for part in job.parts}, sums, rate)


def _taken_into(sums: Sums, record: Done) -> tuple[Done, Sums]:
    """A record without its sums, and all sums so far with them."""
    return replace(record, sums=None), sums if record.sums is None else sums + record.sums


def _chunks(parts: Iterable[Part]) -> Iterator[tuple[Part, range]]:
    """What workers get at a time: the images of each part in their order."""
    for part in parts:
        for start in range(part.start, part.stop, _CHUNK):
            yield part, range(start, min(start + _CHUNK, part.stop))


def _maker(job: Job, pool: WorkerPool) -> Callable[[tuple[Part, range]], Squares]:
    """A function that has a worker make squares of a chunk."""

    def make(task: tuple[Part, range]) -> Squares:
        part, chunk = task
        split = job.splits[part.split]
        unread: dict[int, str] = {}  # place in the chunk → why

        def contents() -> Iterator[bytes]:
            for place, index in enumerate(chunk):
                content = _read(job.source, split, index)
                if isinstance(content, str):
                    unread[place] = content
                else:
                    yield content

        squares = pool.run(contents(), with_sums=part.split == "train")
        for place in sorted(unread):
            squares.encoded.insert(place, unread[place])
        return squares

    return make


def _read(source: Source, split: Split, index: int) -> bytes | str:
    """The bytes of an image, or why it cannot be used.

    Raises:
        UserError: it has gone, though it was there when the source was opened; perhaps all have.
    """
    try:
        return split.read(index)
    except BadImage as error:
        return str(error)
    except (PermissionError, IsADirectoryError) as error:
        return error.strerror or str(error)
    except OSError as error:
        raise UserError(
            f"cannot read {split.keys[index]} of {source.name} any more "
            f"({error.strerror or error}); {_GO_ON}"
        ) from None


def _write(job: Job, part: Part, squares: Iterator[Squares], meter: Meter) -> Done:
    """Make one shard of the next chunks' squares."""
    split = job.splits[part.split]
    sums = no_sums(job.settings.size)
    per_class: Counter[int] = Counter()
    skipped: list[dict[str, str]] = []
    shards: list[Shard] = []

    def records() -> Iterator[Record]:
        nonlocal sums
        for _, chunk in _chunks([part]):
            made = next(squares)
            for index, encoded in zip(chunk, made.encoded, strict=True):
                key, label = split.keys[index], int(split.labels[index])
                if isinstance(encoded, str):
                    skipped.append({"key": key, "reason": encoded})
                    check_strict(job, skipped)
                else:
                    per_class[label] += 1
                    yield Record(encoded, key, label)
            if made.sums is not None:
                sums += made.sums
            meter.advance(len(chunk))

    layout = Layout(job.source.classes, job.settings.size)
    write_atomically(
        job.out / part.file,
        lambda path: shards.append(write_shard(path, part.file, records(), layout)),
    )
    train = part.split == "train"
    return Done(shards[0], dict(sorted(per_class.items())), skipped, sums if train else None)


def check_strict(job: Job, skipped: list[dict[str, str]]) -> None:
    """UserError if anything was skipped of a job that is strict."""
    if job.strict and skipped:
        first = skipped[0]
        raise UserError(
            f"{first['key']}: {first['reason']}; mend or remove it, or leave out --strict to list "
            "such images and go on"
        )
