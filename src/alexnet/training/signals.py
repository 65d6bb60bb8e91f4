"""Ctrl-C and SIGTERM become a request that the loop answers between two steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.received = False

    def __bool__(self) -> bool:
        return self.received


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """While open, the first SIGINT or SIGTERM sets the request; a second one interrupts at once."""
    request = StopRequest()

    def receive(number: int, frame: FrameType | None) -> None:
        if request.received:
            raise KeyboardInterrupt
        request.received = True

    previous = {number: signal.signal(number, receive) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
