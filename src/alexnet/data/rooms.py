"""Memory for batches that is used again once nobody holds the batch in it.

A batch of 128 patches is 19 MB, which the allocator fetches from the system and gives back each
time: the memory of a process would swing by several batches, and every page be cleared anew.
"""

import math
import weakref

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Rooms:
    """As many buffers as there are batches at once; may be asked by several threads.

    Args:
        pinned: whether a GPU shall copy from them by itself. Such memory is torch's to use again,
            once the copy out of it has ended.
    """

    def __init__(self, pinned: bool = False) -> None:
        self._pinned = pinned
        self._free: list[npt.NDArray[np.uint8]] = []

    def empty(self, *shape: int) -> Tensor:
        """A uint8 tensor, not initialised."""
        if self._pinned:
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        size = math.prod(shape)
        buffer = self._free_one(size)
        room = buffer[:size].reshape(shape)
        # The tensor and every view of it hold `room`; when the last is gone, the buffer comes back.
        weakref.finalize(room, self._free.append, buffer).atexit = False
        return torch.from_numpy(room)

    def _free_one(self, size: int) -> npt.NDArray[np.uint8]:
        try:
            buffer = self._free.pop()
        except IndexError:
            return np.empty(size, np.uint8)
        return buffer if len(buffer) >= size else np.empty(size, np.uint8)
