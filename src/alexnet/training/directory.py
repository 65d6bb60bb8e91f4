"""The directory of a run: made once, found again after a restart, used by one process at a time."""

import fcntl
import glob
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alexnet.commands import quoted_command
from alexnet.config import Config, read_config
from alexnet.data.folders import HELD_OUT
from alexnet.data.prepared import holds_prepared
from alexnet.data.sources import NAMES, as_text, check_name
from alexnet.errors import ProcessesLostError, UserError
from alexnet.files import CannotWriteError, at_home, remove_leftovers, write_text
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
    wanted = out or Path("runs") / _name(config)
    check_name(wanted)
    check_apart(config.data.source, wanted)
    try:
        run = _made_empty(wanted) if out else _made_numbered(wanted)
    except OSError as error:
        raise UserError(f"cannot make the run directory {wanted}: {error.strerror}") from None
    write_text(run / "config.json", config.to_json())
    return run


def config_of(run: Path) -> Config:
    """The configuration of a run.

    Raises:
        UserError: it is none, or its configuration is damaged.
    """
    if not (run / "config.json").exists():
        raise UserError(f"{run} is not a run: it holds no config.json")
    return read_config(run / "config.json")


@contextmanager
def gone_unless_begun(run: Path) -> Iterator[None]:
    """While open, a user's error before anything was trained takes the new run directory along.

    Or the mended command would find it there, with a configuration that cannot be trained.
    """
    try:
        yield
    except (CannotWriteError, ProcessesLostError):
        raise
    except UserError:
        begun = read_rows(run / "metrics.jsonl") or checkpoints(run / "checkpoints")
        if not begun and _is_free(run):
            shutil.rmtree(run, ignore_errors=True)
        raise


def check_apart(data: str, out: Path) -> None:
    """Refuse to write among the images: what is written there would be a class of its own.

    Raises:
        UserError: `out` lies where images are looked for.
    """
    source, place = at_home(data).absolute().resolve(), out.absolute().resolve()
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


def _is_free(run: Path) -> bool:
    """Whether no process is training the run."""
    try:
        with sole_use(run):
            return True
    except (UserError, OSError):
        return False


def _run_before_restart(config: Config, out: Path | None) -> Path | None:
    """The run that these processes trained before torchrun started them again."""
    candidates = (
        [out] if out else sorted(Path("runs").glob(f"{glob.escape(_name(config))}*"), key=_created)
    )
    for run in reversed(candidates):
        path = run / "config.json"
        unfinished = path.exists() and not (run / "result.json").exists()
        same = unfinished and path.read_text(encoding="utf-8") == config.to_json()
        if same and _is_free(run):  # another one is of processes that were started beside these
            return run
    return None


def _name(config: Config) -> str:
    """Of a run that was given none."""
    return f"{as_text(Path(config.data.source).name)}-{config.recipe}"


def _created(run: Path) -> float:
    return run.stat().st_mtime


def _made_empty(out: Path) -> Path:
    """The directory that was asked for.

    Raises:
        UserError: something is there.
    """
    for half_written in out.glob(".config.json.*.part"):
        half_written.unlink()  # by a process that was killed here
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        is_run = (out / "config.json").exists()
        hint = f"continue it with {quoted_command('train', '--resume', out)}, or " if is_run else ""
        raise UserError(f"{out} exists already; {hint}choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    return out


def _made_numbered(path: Path) -> Path:
    """The first of path, path-2, path-3, … that nobody has made, also not at this moment."""
    number, candidate = 1, path
    while True:
        try:
            candidate.mkdir(parents=True)
            return candidate
        except FileExistsError:
            number += 1
            candidate = path.with_name(f"{path.name}-{number}")
