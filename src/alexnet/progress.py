"""Progress of long work on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import io
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from rich.progress import Progress

_SECONDS_BETWEEN_LINES = 10.0
_muted = False


class Meter:
    """Counts towards a total and shows it; use as a context manager.

    Args:
        title: what is being done.
        total: how many units there are.
        start: units done before this process, after a resumption.
        silent: count without showing.
    """

    def __init__(self, title: str, total: int, start: int = 0, silent: bool = False) -> None:
        self._title = title
        self._total = total
        self._silent = silent or _muted
        self._start = self._done = start
        self._began = self._last_line = time.monotonic()
        self._note = ""
        self._bar: Progress | None = None
        if sys.stderr.isatty() and not self._silent:
            self._bar = _bar()
            self._task = self._bar.add_task(title, total=total, completed=start, note="")

    def __enter__(self) -> "Meter":
        if self._bar:
            with heard_or_not():
                self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar:
            with heard_or_not():
                self._bar.stop()

    def advance(self, units: int = 1, note: str = "") -> None:
        """So many more units are done; the last `note` given is shown beside the count."""
        self._done += units
        self._note = note or self._note
        if self._bar:
            with heard_or_not():
                self._bar.update(self._task, completed=self._done, note=self._note)
        elif not self._silent and time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            line = f"{self._title}: {self._done}/{self._total}, {self._remaining()} left"
            self.say(f"{line}; {self._note}" if self._note else line)

    def say(self, line: str) -> None:
        """Print a line of its own, above the bar where there is one."""
        if self._bar:
            with heard_or_not():
                self._bar.console.print(
                    line.rstrip(), highlight=False, markup=False, soft_wrap=True
                )
        else:
            say(line.rstrip())

    def _remaining(self) -> str:
        rate = (self._done - self._start) / max(time.monotonic() - self._began, 1e-9)
        return duration((self._total - self._done) / rate) if rate else "?"


def mute() -> None:
    """Say nothing from now on, also on stdout: another process speaks for this one."""
    global _muted
    _muted = True
    sys.stdout = nowhere()


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


def nowhere() -> TextIO:
    """A stream that takes everything and keeps nothing."""
    return cast("TextIO", _Nowhere())


@contextmanager
def heard_or_not() -> Iterator[None]:
    """While open, work goes on in silence where stderr cannot be written any more.

    Its reader may have left, as `head` does, its terminal be closed, or the disk behind it be full.
    """
    try:
        yield
    except OSError:
        sys.stderr = nowhere()


def _bar() -> "Progress":
    """A bar on standard error. Its library is heavy, and most processes have no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


def say(line: str) -> None:
    """One line for people, on stderr."""
    if not _muted:
        _print(line)


def complain(line: str) -> None:
    """Why the program ends, on stderr; an empty line has been said elsewhere."""
    if line:
        _print(f"alexnet: {line}")


def _print(line: str) -> None:
    with heard_or_not():
        print(line, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds as `42 s`, `3 min 05 s` or `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def shown_epochs(epochs: float) -> str:
    """A number of epochs as `20` or `0.33`."""
    return f"{round(epochs, 2):g}"


@contextmanager
def stage(title: str) -> Iterator[None]:
    """Say what begins, and how long it took once it has ended well."""
    began = time.monotonic()
    yield
    say(f"{title}: {duration(time.monotonic() - began)}")
