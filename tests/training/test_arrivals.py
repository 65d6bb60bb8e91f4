"""Batches come to the device in order, copied while the steps before are computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from alexnet.training.arrivals import on_device


class FakeBatch:
    """A batch that notes on which stream it is copied."""

    def __init__(self, number: int, log: list[str]) -> None:
        self.number, self.log = number, log

    def to(self, device: torch.device) -> "FakeBatch":
        self.log.append(f"copy {self.number} on {FakeStream.current}")
        return self


class FakeStream:
    current = "computing"

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log
        self.events = 0

    def wait_stream(self, other: "FakeStream") -> None:
        self.log.append(f"{self.name} waits for {other.name}")

    def record_event(self) -> int:
        self.events += 1
        return self.events - 1

    def wait_event(self, event: int) -> None:
        self.log.append(f"{self.name} waits for step {event}")


def test_a_processor_gets_the_batches_themselves() -> None:
    log: list[str] = []
    batches: Any = iter([FakeBatch(number, log) for number in range(3)])
    moved: Any = list(on_device(batches, torch.device("cpu")))
    assert [batch.number for batch in moved] == [0, 1, 2]


def test_a_gpu_copies_on_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step waits for its own batch; a copy waits only for the step but one before it."""
    log: list[str] = []
    computing = FakeStream("computing", log)

    @contextmanager
    def on(stream: FakeStream) -> Iterator[None]:
        FakeStream.current = stream.name
        yield
        FakeStream.current = "computing"

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: FakeStream("copying", log))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: computing)
    monkeypatch.setattr(torch.cuda, "stream", on)
    batches: Any = iter([FakeBatch(number, log) for number in range(4)])
    moved: Any = on_device(batches, torch.device("cuda"))
    log.extend(f"step {batch.number}" for batch in moved)
    assert log == [
        *("copy 0 on copying", "computing waits for copying", "step 0"),
        *("copy 1 on copying", "computing waits for copying", "step 1"),
        "copying waits for step 0",
        *("copy 2 on copying", "computing waits for copying", "step 2"),
        "copying waits for step 1",
        *("copy 3 on copying", "computing waits for copying", "step 3"),
    ]
