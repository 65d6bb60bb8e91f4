"""What an unfinished prepared set remembers: its plan, and each shard that is complete.

A shard counts once its record is there, which is written after the shard itself; both appear whole
or not at all. So work killed at any moment goes on with the first shard that has no record.
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.data.manifest import NAME
from alexnet.data.prepared import STATE
from alexnet.data.shards import Shard
from alexnet.data.sums import Sums
from alexnet.errors import UserError
from alexnet.files import (
    CannotWriteError,
    read_json,
    remove_leftovers,
    write_atomically,
    write_text,
)

_PLAN = "plan.json"


@dataclass(frozen=True)
class Part:
    """Images `start` to `stop` - 1 of a split, which become one shard."""

    split: str
    number: int
    of: int
    start: int
    stop: int

    @property
    def file(self) -> str:
        """The shard's name."""
        return f"{self.split}-{self.number:05d}-of-{self.of:05d}.arrow"


@dataclass(frozen=True)
class Done:
    """A complete shard and what was counted on the way."""

    shard: Shard
    images_per_class: dict[int, int]  # label → images, without zeros
    skipped: list[dict[str, str]]
    sums: Sums | None


def parts(split: str, images: int, shard_images: int) -> list[Part]:
    """A split cut into shards of so many images, the last one shorter."""
    starts = range(0, images, shard_images)
    return [
        Part(split, number, len(starts), start, min(start + shard_images, images))
        for number, start in enumerate(starts)
    ]


@contextmanager
def claimed(out: Path, plan: dict[str, Any]) -> Iterator[None]:
    """Make `out` ours alone for the work of `plan`, new or begun before.

    Raises:
        UserError: it holds other things or the work of another plan, or is being worked on.
        CannotWriteError: no such folder can be made.
    """
    _check_free(out)
    try:
        (out / STATE).mkdir(parents=True, exist_ok=True)
        lock = (out / STATE / "lock").open("w")
    except OSError as error:
        raise CannotWriteError(f"cannot write {out}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another process is preparing {out}; wait for it, or end it") from None
        for folder in (out, out / STATE):
            remove_leftovers(folder)
        if (begun := begun_plan(out)) is not None:
            check_same_plan(out, begun, plan)
        else:
            write_text(out / STATE / _PLAN, json.dumps(plan, indent=1))
        yield


def begun_plan(out: Path) -> dict[str, Any] | None:
    """The plan of the work in `out`, if it has begun."""
    try:
        plan: dict[str, Any] = read_json(out / STATE / _PLAN)
    except FileNotFoundError:
        return None
    return plan


def check_same_plan(out: Path, begun: dict[str, Any], plan: dict[str, Any]) -> None:
    """Refuse to go on with other images or options than `out` was begun with."""
    changed = [name for name in plan if begun.get(name) != plan[name]]
    if not changed:
        return
    if changed[0] == "images":
        difference = "from other images than these"
    else:
        difference = f"with {changed[0]}={begun.get(changed[0])}, not {plan[changed[0]]}"
    raise UserError(
        f"{out} was made {difference}; give another folder, or delete it to prepare it again"
    )


def load(out: Path, part: Part) -> Done | None:
    """The record of a shard that is complete; None if it is yet to be made."""
    record = _record(out, part)
    if not record.is_file() or not (out / part.file).is_file():
        return None
    document = read_json(record)
    shard = Shard(**document["shard"])
    if (out / part.file).stat().st_size != shard.bytes:
        return None
    sums = None
    if document["products"] is not None:
        pixels = np.load(record.with_suffix(".npy"))
        sums = Sums(document["summed"], pixels, np.array(document["products"], np.int64))
    per_class = {int(label): count for label, count in document["images_per_class"].items()}
    return Done(shard, per_class, document["skipped"], sums)


def save(out: Path, part: Part, done: Done) -> None:
    """Record that a shard is complete; CannotWriteError as for `files.write_atomically`."""
    record, sums = _record(out, part), done.sums
    if sums is not None:
        pixels = sums.pixels

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.save(file, pixels)

        write_atomically(record.with_suffix(".npy"), write)
    document = {
        "shard": asdict(done.shard),
        "images_per_class": done.images_per_class,
        "skipped": done.skipped,
        "summed": sums and sums.count,
        "products": sums and sums.products.tolist(),
    }
    write_text(record, json.dumps(document))


def once(out: Path, name: str, look: Callable[[], list[str]]) -> list[str]:
    """What `look` finds, remembered for the next time."""
    note = out / STATE / f"{name}.json"
    if not note.is_file():
        write_text(note, json.dumps(look()))
    found: list[str] = read_json(note)
    return found


def forget(out: Path) -> None:
    """Remove what only a resumption needs."""
    shutil.rmtree(out / STATE, ignore_errors=True)


def _record(out: Path, part: Part) -> Path:
    return out / STATE / f"{part.split}-{part.number:05d}.json"


def _check_free(out: Path) -> None:
    """A folder that is not ours stays as it is."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a new folder")
    if not out.is_dir() or (out / STATE).is_dir() or (out / NAME).is_file():
        return
    if any(out.iterdir()):
        raise UserError(f"{out} is not empty and no prepared set; give a new or empty folder")
