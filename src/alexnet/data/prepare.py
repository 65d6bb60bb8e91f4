"""The one-time pass over a source: every image to a small square, in Arrow files.

Same input, same bytes of every file, whatever the number of workers and however often the work was
interrupted: images keep their order, shards are cut by count, sums are of integers.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL

import alexnet
from alexnet.data import resume
from alexnet.data.checksums import unofficial_archives
from alexnet.data.fingerprint import fingerprint
from alexnet.data.making import Job, Made, check_strict, make_shards
from alexnet.data.manifest import (
    MEAN,
    NAME,
    Manifest,
    PreparedSplit,
    components_to_json,
    read_manifest,
    sha256,
    write_manifest,
)
from alexnet.data.prepared import open_prepared
from alexnet.data.resume import Done, Part
from alexnet.data.sources import Source, check_name, open_source
from alexnet.data.square_worker import Settings
from alexnet.data.statistics import Statistics
from alexnet.errors import UserError
from alexnet.files import at_home, write_atomically
from alexnet.process import cores
from alexnet.progress import say
from alexnet.suggest import unknown

ENCODINGS = ("jpeg", "raw")
_SKIPPED_SHOWN = 10


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    kind: str = "auto",
    size: int = 256,
    quality: int = 95,
    encoding: str = "jpeg",
    workers: int | None = None,
    strict: bool = False,
    checksums: bool | Mapping[str, str] = True,
    validation_fraction: float = 0.2,
    shard_images: int = 8192,
) -> dict[str, Any]:
    """Make a prepared set, or go on with one that was begun; a finished one is left as it is.

    Statistics are of the squares of the training split, before they are encoded.

    Args:
        source: what `alexnet.data.sources.open_source` opens.
        out: a new or empty folder, or the one of the interrupted work.
        kind: as for `open_source`.
        size: pixels along each side of the squares.
        quality: of JPEG, 1 to 100; 95 as in the authors' later pipeline (cuda-convnet2).
        encoding: "jpeg", or "raw" for uncompressed PPM files.
        workers: processes; by default one for each core.
        strict: stop at the first image that cannot be used, in place of listing it.
        checksums: whether to compare archives with the official checksums; or other ones,
            "md5:…" or "sha256:…" by file name. One that differs is said, with `strict` fatal.
        validation_fraction: as for `open_source`.
        shard_images: images of the source in a shard, which is also what a kill can cost.

    Returns:
        "out", "images" and "classes" (counts), "skipped" (a list of "key" and "reason"), and
        "images_per_second", of what this call did.

    Raises:
        UserError: the source cannot be used or vanished, an option makes no sense, the disk is
            full, or `out` holds something else; whatever is finished is kept.
    """
    settings = _checked(Settings(size, encoding, quality), shard_images, workers)
    out, path = at_home(out), at_home(source)
    check_name(out)
    opened = open_source(source, kind=kind, validation_fraction=validation_fraction)
    opened = replace(opened, validation_fraction=validation_fraction)
    _check_apart(path, opened, out)
    job = Job(opened, out, settings, shard_images, strict)
    plan = {
        **asdict(settings),
        "shard_images": shard_images,
        "pillow": PIL.__version__,
        "images": fingerprint(opened),
    }
    if (out / NAME).is_file():
        manifest = _finished(out, plan)
        check_strict(job, manifest.skipped)
        return _result(out, manifest, 0.0)
    with resume.claimed(out, plan):
        unofficial = []
        if checksums is not False:
            look = partial(unofficial_archives, path, checksums)
            unofficial = resume.once(out, "unofficial", look)
        if strict and unofficial:
            raise UserError(f"{unofficial[0]}; get it again, or leave out --strict")
        # Of the first time: a set `digits` that is begun lies beside the digits, and is noted.
        notes = [*resume.once(out, "notes", lambda: list(opened.notes)), *unofficial]
        for note in notes:
            say(note)
        made = make_shards(job, workers or cores())
        manifest = _finish(job, made, notes, plan)
        resume.forget(out)
    _say_skipped(manifest)
    return _result(out, manifest, made.images_per_second)


def _checked(settings: Settings, shard_images: int, workers: int | None) -> Settings:
    """The settings, if they make sense."""
    if settings.encoding not in ENCODINGS:
        raise UserError(unknown("encoding", settings.encoding, ENCODINGS))
    for name, value, low, high in (
        ("size", settings.size, 8, 4096),
        ("quality", settings.quality, 1, 100),
        ("workers", 1 if workers is None else workers, 1, 1024),
        ("shard_images", shard_images, 1, 1 << 24),
    ):
        if not low <= value <= high:
            raise UserError(f"{name}={value} is not between {low} and {high}")
    return settings


def _check_apart(path: Path, source: Source, out: Path) -> None:
    """A set among the images would be taken for some of them, or for a class."""
    if path.resolve() not in out.resolve().parents:
        return
    if source.kind == "folder" and not (path / "train").is_dir():
        raise UserError(f"{out} lies among the classes of {path}; choose a place outside of it")
    first = path / out.resolve().relative_to(path.resolve()).parts[0]
    if any(str(file).startswith(f"{first}{os.sep}") for file in source.files()):
        raise UserError(f"{out} lies among the images in {first}; choose a place outside of it")


def _finish(job: Job, made: Made, notes: list[str], plan: dict[str, Any]) -> Manifest:
    """Write what belongs to all shards; the manifest is the last file."""
    splits = {name: _summary(job, name, made.done) for name in job.splits}
    for name in ("train", "validation"):
        if not splits[name].images:
            raise UserError(f"no {name} image of {job.source.name} can be used; see its files")
    statistics = made.sums.statistics()
    skipped = [entry for record in made.done.values() for entry in record.skipped]
    write_atomically(job.out / MEAN, lambda path: _save(path, statistics))
    manifest = Manifest(
        name=job.source.name,
        kind=job.source.kind,
        year=job.source.year,
        classes=list(job.source.classes),
        class_ids=list(job.source.class_ids),
        mirror=job.source.mirror,
        crop=job.source.crop,
        settings=job.settings,
        splits=splits,
        mean_sha256=sha256(job.out / MEAN),
        components=components_to_json(statistics),
        skipped=[*job.skipped, *skipped],
        notes=notes,
        made={
            "alexnet": alexnet.__version__,
            "plan": plan,
            "validation_fraction": job.source.validation_fraction,
        },
    )
    write_manifest(job.out, manifest)
    return manifest


def _summary(job: Job, name: str, done: dict[Part, Done]) -> PreparedSplit:
    per_class = [0] * len(job.source.classes)
    records = [record for part, record in done.items() if part.split == name]
    for record in records:
        for label, count in record.images_per_class.items():
            per_class[label] += count
    return PreparedSplit(sum(per_class), per_class, [record.shard for record in records])


def _save(path: Path, statistics: Statistics) -> None:
    with path.open("wb") as file:
        np.save(file, statistics.mean_image)


def _finished(out: Path, plan: dict[str, Any]) -> Manifest:
    """The manifest of a set that is there already, if it is the wanted one."""
    manifest = read_manifest(out)
    made = {**manifest.made["plan"], "pillow": plan["pillow"]}  # whichever made it
    resume.check_same_plan(out, made, plan)
    open_prepared(out)
    resume.forget(out)
    return manifest


def _say_skipped(manifest: Manifest) -> None:
    for entry in manifest.skipped[:_SKIPPED_SHOWN]:
        say(f"skipped {entry['key']}: {entry['reason']}")
    if (more := len(manifest.skipped) - _SKIPPED_SHOWN) > 0:
        say(f"skipped {more} more; all are listed in {NAME}")


def _result(out: Path, manifest: Manifest, rate: float) -> dict[str, Any]:
    return {
        "out": str(out),
        "images": manifest.images,
        "classes": len(manifest.classes),
        "skipped": manifest.skipped,
        "images_per_second": rate,
    }
