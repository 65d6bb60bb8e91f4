"""Batches brought to the device, on a GPU while it still computes."""

from collections import deque
from collections.abc import Iterator

import torch

from alexnet.data.batches import Batch

_AT_ONCE = 2  # batches on a GPU: one is computed with while the next is copied


def on_device(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches on the device; all work with one must be queued before the next is taken.

    A GPU copies on a stream of its own. On the stream that computes, a copy would begin only when
    all steps queued before it are done, and the next step would wait for the copy.
    """
    if device.type != "cuda":
        for batch in batches:
            yield batch.to(device)
        return
    copying, computing = torch.cuda.Stream(device), torch.cuda.current_stream(device)  # type: ignore[no-untyped-call]
    there: deque[tuple[Batch, torch.cuda.Event]] = deque()
    for batch in batches:
        if len(there) == _AT_ONCE:
            # The memory of the oldest may be written anew, and no earlier than its step is done.
            copying.wait_event(there.popleft()[1])
        with torch.cuda.stream(copying):
            moved = batch.to(device)
        computing.wait_stream(copying)
        yield moved
        there.append((moved, computing.record_event()))
