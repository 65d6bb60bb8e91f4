"""Files that are either whole or not there, and where they are."""

import errno
import json
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from alexnet.errors import UserError


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_PERMISSIONS = 0o666 & ~_umask()


class CannotWriteError(UserError):
    """A file could not be written: the disk is full, or the place is not writable."""


def cannot_write(path: Path, error: Exception) -> CannotWriteError:
    """What a user is told of an error in writing a file."""
    text = str(error)
    full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in text
    reason = "the disk is full; free some space" if full else text
    return CannotWriteError(f"cannot write {path}: {reason}")


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Call `write` with a temporary name beside `path`, force it to disk, and rename it.

    A process killed at any moment leaves either the old file or the new one, never a part; of
    several that write at once, be it from two threads or two machines, the last one wins.

    Raises:
        CannotWriteError: the disk is full or the place not writable; the old file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        write(temporary)
        temporary.chmod(_PERMISSIONS)  # some writers make files that only their owner can read
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically; errors as for `write_atomically`."""
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); restore it or delete it") from None


def at_home(path: str | Path) -> Path:
    """The path with a leading ~ as somebody's home.

    Raises:
        UserError: there is no such user, or the path is empty, as of a variable that is not set: it
            would be the folder one happens to be in.
    """
    if path == "":
        raise UserError("a path is empty; the folder you are in is .")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"there is no home for {path}; a name of yours is ./{path}") from None


def cache_folder() -> Path:
    """Where downloads and what can be made again are kept: ALEXNET_CACHE, or the user's cache.

    Raises:
        UserError: there is no home, and somebody else has made the folder in its place; what is
            compiled there would be run.
    """
    named = os.environ.get("ALEXNET_CACHE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "alexnet"
    except RuntimeError:  # a user without a home, as in some containers
        folder = Path(tempfile.gettempdir()) / f"alexnet-{os.getuid()}"
    if folder.exists() and folder.stat().st_uid != os.getuid():
        raise UserError(f"{folder} is another user's; set ALEXNET_CACHE to a folder of yours")
    return folder


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left half-written in a folder."""
    for leftover in folder.glob(".*.part"):
        leftover.unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def flush(path: Path) -> None:
    """Force a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
