"""Signals at bad moments, and processes that must not outlive their parents."""

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alexnet.process import interrupt


@pytest.fixture
def interrupted() -> Iterator[None]:
    before = {n: signal.signal(n, interrupt) for n in (signal.SIGINT, signal.SIGALRM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("interrupted")
def test_an_import_is_not_cut_in_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of a library that was cut off while it loaded fails in words of its own."""
    (tmp_path / "loads_slowly.py").write_text(
        "import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(0.1)\nwhole = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        _import_and_wait("loads_slowly")
    assert sys.modules["loads_slowly"].whole


def _import_and_wait(name: str) -> None:
    importlib.import_module(name)
    time.sleep(60)


@pytest.mark.usefixtures("interrupted")
def test_elsewhere_an_interruption_comes_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems leave orphans")
def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    child = (
        "import os, signal, time; from alexnet.process import end_with; "
        "end_with(os.getppid(), signal.SIGTERM); print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        process.kill()
        process.wait()
        end = time.monotonic() + 30
        while _is_alive(number):
            assert time.monotonic() < end
            time.sleep(0.01)


def _is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"
