"""Tensors as our own C takes them."""

import ctypes

from torch import Tensor


def pointers(*tensors: Tensor | None) -> list[ctypes.c_void_p]:
    """Where the numbers of each tensor begin; NULL for None."""
    return [ctypes.c_void_p(None if t is None else t.data_ptr()) for t in tensors]
