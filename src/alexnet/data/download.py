"""One file from the network: resumable, checked, and there only when it is whole."""

import contextlib
import errno
import hashlib
import http.client
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as RichProgress

from alexnet.errors import UserError
from alexnet.progress import heard_or_not

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes there will be (None: the server is silent)."""

_BLOCK = 1 << 18  # bytes
_NOT_SATISFIABLE = 416  # the status for a range that begins at or past the end of the file
_WORTH_RETRYING = {408, 425, 429, 500, 502, 503, 504}


class _InterruptedError(Exception):
    """The transfer stopped short for a reason that may pass."""


def download(
    url: str,
    path: Path,
    *,
    checksum: str,
    progress: Progress | None = None,
    attempts: int = 4,
    pause: float = 0.5,
    timeout: float = 30.0,
) -> Path:
    """Fetch `url` into `path`, unless the right file is there already.

    What has arrived is kept in `path` + ".part", from where the next attempt or the next call goes
    on. `path` itself only ever holds the whole, checked file. One process at a time.

    Args:
        url: http or https.
        path: where the file is to be; missing folders are made.
        checksum: "md5:…" or "sha256:…", hexadecimal.
        progress: told after each block.
        attempts: attempts in a row that may bring nothing before it gives up.
        pause: seconds before the second of them; doubles with each further one.
        timeout: seconds of silence after which a connection counts as lost.

    Returns:
        `path`.

    Raises:
        UserError: unreachable, not there, other bytes than expected, or no room to write; one
            line.
    """
    if path.is_file() and matches(path, checksum):
        return path
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, part, progress or _silent, attempts, pause, timeout)
        if not matches(part, checksum):
            part.unlink()
            raise UserError(
                f"{url} is not the file that was expected (its {checksum.partition(':')[0]} "
                "differs); what arrived was deleted: try again, or get the file elsewhere"
            )
        part.replace(path)
    except OSError as error:  # of the disk: the network's are dealt with below
        raise UserError(_disk_trouble(part, error)) from None
    return path


def matches(path: Path, checksum: str) -> bool:
    """Whether a file has this checksum, "md5:…" or "sha256:…"."""
    algorithm, _, expected = checksum.partition(":")
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest() == expected


@contextlib.contextmanager
def console_progress(label: str, stream: IO[str] | None = None) -> Iterator[Progress]:
    """A `Progress` for people: a bar on a terminal, else a line for every tenth.

    Args:
        label: what is being downloaded.
        stream: where to; standard error by default.
    """
    console = Console(file=stream or sys.stderr)
    if not console.is_terminal:
        yield _lines(label, stream or sys.stderr)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=console) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(label: str, stream: IO[str]) -> Progress:
    """A line for every tenth of the file, or every 16 MB of one of unknown size."""
    printed = -1

    def progress(done: int, total: int | None) -> None:
        nonlocal printed
        step = done * 10 // total if total else done // 16_000_000
        if step > printed:
            printed = step
            of_total = f" of {total / 1e6:.1f}" if total else ""
            with heard_or_not():
                print(f"{label}: {done / 1e6:.1f}{of_total} MB", file=stream, flush=True)

    return progress


def _silent(done: int, total: int | None) -> None:
    """The progress nobody watches."""


def _fetch(
    url: str, part: Path, progress: Progress, attempts: int, pause: float, timeout: float
) -> None:
    """Bring `part` to its full length, however often the connection is lost."""
    fruitless, longest = 0, _length(part)
    while True:
        try:
            return _transfer(url, part, progress, timeout)
        except _InterruptedError as error:
            fruitless = 0 if _length(part) > longest else fruitless + 1
            longest = max(longest, _length(part))
            if fruitless >= attempts:
                kept = f" ({_length(part) / 1e6:.1f} MB are kept)" if _length(part) else ""
                raise UserError(
                    f"cannot download {url}: {error}; check the connection and try again{kept}"
                ) from None
            if fruitless:
                time.sleep(pause * 2 ** (fruitless - 1))


def _transfer(url: str, part: Path, progress: Progress, timeout: float) -> None:
    """One connection: append to `part` what it lacks, or start it again if need be."""
    have = _length(part)
    request = urllib.request.Request(url, headers={"User-Agent": "alexnet"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == _NOT_SATISFIABLE:
                return  # all of it is there; if it is too much, the checksum will tell
            if error.code in _WORTH_RETRYING:
                raise _InterruptedError(f"the server says {error.code} {error.reason}") from None
            raise UserError(
                f"cannot download {url}: the server says {error.code} {error.reason}"
            ) from None
    except urllib.error.URLError as error:
        raise _InterruptedError(_network_trouble(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(_network_trouble(error)) from None
    with response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        done = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            progress(done, total)
            for block in _blocks(response):
                file.write(block)
                done += len(block)
                progress(done, total)
        if total is not None and done < total:
            raise _InterruptedError("the connection was lost")


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The bytes of a response; a lost connection is told apart from a full disk."""
    while True:
        try:
            block = response.read(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise _InterruptedError(_network_trouble(error)) from None
        if not block:
            return
        yield block


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _network_trouble(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__


def _disk_trouble(part: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full: cannot write {part}; make room and try again, what arrived is kept"
        )
    return f"cannot write {part}: {error.strerror or error}"
