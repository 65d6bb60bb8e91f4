"""What is said on the way, and what becomes of it where nobody listens."""

import errno
import io
import sys
from types import SimpleNamespace

import pytest

from alexnet import progress


class Gone(io.StringIO):
    """A terminal that has been closed."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


class GoneBar:
    """A bar on it."""

    def __init__(self) -> None:
        self.console = SimpleNamespace(print=self.update)

    def add_task(self, *what: object, **more: object) -> int:
        return 0

    def update(self, *what: object, **more: object) -> None:
        sys.stderr.write("")

    start = stop = update


@pytest.mark.parametrize(
    ("act", "given"),
    [("__enter__", ()), ("advance", ()), ("say", ("line",)), ("__exit__", (None, None, None))],
)
def test_work_goes_on_whose_terminal_is_closed(
    act: str, given: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_bar", GoneBar)
    monkeypatch.setattr(sys, "stderr", Gone())
    getattr(progress.Meter("work", 10), act)(*given)
    assert not isinstance(sys.stderr, Gone)


def test_a_full_disk_behind_the_log_ends_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for speak in (progress.say, progress.complain):
        monkeypatch.setattr(sys, "stderr", Gone())
        speak("a line")
        speak("another")
        assert not isinstance(sys.stderr, Gone)
