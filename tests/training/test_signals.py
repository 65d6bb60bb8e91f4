"""Signals as requests, and where there are none."""

import signal
from threading import Thread

from alexnet.training.signals import stop_request


def test_a_thread_beside_the_main_one_is_asked_by_nobody() -> None:
    """Python gives signals to the main thread only; a notebook may train in another."""
    seen: list[bool] = []

    def train() -> None:
        with stop_request(lambda: True) as stop:
            seen.append(bool(stop))

    before = signal.getsignal(signal.SIGTERM)
    thread = Thread(target=train)
    thread.start()
    thread.join()
    assert seen == [True]
    assert signal.getsignal(signal.SIGTERM) is before
