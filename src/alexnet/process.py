"""What a process of this package may take of the machine, how its threads wait, what ends it."""

import os
import signal
import stat
import sys
import threading
from types import FrameType

_ASK_AGAIN_SECONDS = 0.02

SETTINGS = {
    "GOMP_SPINCOUNT": "1000",
    "OPENBLAS_NUM_THREADS": "1",  # NumPy's; our heavy products are torch's
}
"""Variables of the environment, set where the user has not set them."""


def set_up_process() -> None:
    """Set them; before torch and NumPy are imported, or without effect.

    Threads that spin until their turn starve each other as soon as anything else runs on the
    machine: 60 instead of 2,000 images/s, measured. Threads that sleep at once cost a quarter of
    the speed on a quiet one. A short spin before sleeping has most of both.
    """
    for name, value in SETTINGS.items():
        if name != "GOMP_SPINCOUNT" or "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault(name, value)


def signals_to_stop() -> list[signal.Signals]:
    """What asks a process to end in good order; a closed terminal does, unless under `nohup`.

    None in a thread beside the main one, to which Python gives no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    asked = [signal.SIGINT, signal.SIGTERM]
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return asked if ignored else [*asked, signal.SIGHUP]


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal: a KeyboardInterrupt, but not before an import has ended.

    A library that is cut off while it loads fails in words of its own; NumPy and torch, which load
    each other from C++, even swallow the interruption.
    """
    if number == signal.SIGHUP:
        leave_terminal()
    if _is_importing(frame):
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, _ASK_AGAIN_SECONDS)
        return
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def end_with(parent: int, number: signal.Signals) -> None:
    """Have the system send this process a signal when its parent ends, however that ends."""
    if sys.platform != "linux":
        return
    import ctypes  # which no other command needs at its start

    death_signal = 1  # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(death_signal, number)
    if os.getppid() != parent:  # it died before the line above
        os.kill(os.getpid(), number)


def leave_terminal() -> None:
    """Say the rest to nobody: a line for a terminal that is closed would be an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if stat.S_ISCHR(os.fstat(stream).st_mode):
            os.dup2(nowhere, stream)
    os.close(nowhere)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_each(processes: int) -> int:
    """Threads for each of so many processes that share this machine.

    Without it every one would start a thread for every core, and they would wait for each other.
    """
    return max(1, cores() // processes)
