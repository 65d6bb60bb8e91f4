"""The directory of a run: made once, found again after a restart, used by one process at a time."""

import fcntl
import glob
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alexnet.config import Config
from alexnet.data.folders import HELD_OUT
from alexnet.data.prepared import holds_prepared
from alexnet.data.sources import NAMES, as_text, check_name
from alexnet.errors import UserError
from alexnet.files import CannotWriteError, remove_leftovers, write_text
from alexnet.parallel.world import starts
from alexnet.rows import read_rows
from alexnet.training.checkpoint import checkpoints


def create_run(config: Config, out: Path | None) -> Path:
    """Make the run directory and write the configuration into it.

    Raises:
        UserError: the directory exists already, or cannot be made.
    """
    if starts():
        before = _run_before_restart(config, out)
        if before:
            return before
    if out is None:
        out = _numbered(Path("runs") / _name(config))
    check_name(out)
    check_apart(config.data.source, out)
    for half_written in out.glob(".config.json.*.part"):
        half_written.unlink()  # by a process that was killed here
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        hint = f"continue it with --resume {out}, or " if (out / "config.json").exists() else ""
        raise UserError(f"{out} exists already; {hint}choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the run directory {out}: {error.strerror}") from None
    write_text(out / "config.json", config.to_json())
    return out


@contextmanager
def gone_unless_begun(run: Path) -> Iterator[None]:
    """While open, a user's error before anything was trained takes the new run directory along.

    Or the mended command would find it there, with a configuration that cannot be trained.
    """
    try:
        yield
    except CannotWriteError:
        raise
    except UserError:
        if not read_rows(run / "metrics.jsonl") and not checkpoints(run / "checkpoints"):
            shutil.rmtree(run, ignore_errors=True)
        raise


def check_apart(data: str, out: Path) -> None:
    """Refuse to write among the images: what is written there would be a class of its own.

    Raises:
        UserError: `out` lies where images are looked for.
    """
    source, place = Path(data).absolute().resolve(), out.absolute().resolve()
    if data in NAMES or source not in place.parents or holds_prepared(source):
        return
    first = place.relative_to(source).parts[0].lower()
    if not (source / "train").is_dir() or first in ("train", *HELD_OUT):
        raise UserError(f"{out} lies among the images of {source}; give an --out outside of it")


@contextmanager
def sole_use(run: Path) -> Iterator[None]:
    """Hold the run's lock, which the operating system releases however the process ends."""
    with (run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another process is training {run}; wait for it or stop it") from None
        remove_leftovers(run)
        yield


def _run_before_restart(config: Config, out: Path | None) -> Path | None:
    """The run that these processes trained before torchrun started them again."""
    candidates = (
        [out] if out else sorted(Path("runs").glob(f"{glob.escape(_name(config))}*"), key=_created)
    )
    for run in reversed(candidates):
        path = run / "config.json"
        unfinished = path.exists() and not (run / "result.json").exists()
        if unfinished and path.read_text(encoding="utf-8") == config.to_json():
            return run
    return None


def _name(config: Config) -> str:
    """Of a run that was given none."""
    return f"{as_text(Path(config.data.source).name)}-{config.recipe}"


def _created(run: Path) -> float:
    return run.stat().st_mtime


def _numbered(path: Path) -> Path:
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
