"""Ctrl-C, SIGTERM and a closed terminal become a request that the loop answers between steps."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from alexnet.process import leave_terminal, signals_to_stop


class StopRequest:
    """Whether somebody asked the run to stop, or it has gone on long enough.

    Args:
        enough: asked before every step; None: only a signal stops the run.
    """

    def __init__(self, enough: Callable[[], bool] | None = None) -> None:
        self.received = False
        self._enough = enough

    def __bool__(self) -> bool:
        return self.received or (self._enough is not None and self._enough())


@contextmanager
def stop_request(enough: Callable[[], bool] | None = None) -> Iterator[StopRequest]:
    """While open, the first such signal sets the request; a second one interrupts at once."""
    request = StopRequest(enough)

    def receive(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        if request.received:
            raise KeyboardInterrupt
        request.received = True

    previous = {number: signal.signal(number, receive) for number in signals_to_stop()}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
