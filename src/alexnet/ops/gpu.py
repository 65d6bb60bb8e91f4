"""Whether a tensor's device can run our Triton kernels. Free of Triton itself."""

import functools
import importlib.util

import torch
from torch import Tensor

from alexnet.ops.eager import is_eager
from alexnet.progress import say

_TRITON = importlib.util.find_spec("triton") is not None
_OLDEST_CAPABILITY = (7, 0)  # of CUDA devices that Triton generates code for


def runs_triton(x: Tensor) -> bool:
    """Whether `x` lies on a GPU that Triton serves; says once if Triton is all that is missing.

    False while a model is exported or traced: a kernel of ours would mean nothing to whoever loads
    it.
    """
    if not x.is_cuda or torch.compiler.is_exporting():
        return False
    if torch.compiler.is_compiling():
        return _TRITON
    return is_eager(x) and _serves(x.device)


@functools.cache
def _serves(device: torch.device) -> bool:
    if torch.cuda.get_device_capability(device) < _OLDEST_CAPABILITY:
        return False
    if not _TRITON:
        say(
            "Triton is not installed, so normalisation and dropout run slower, as plain torch; "
            "to mend it: pip install triton"
        )
    return _TRITON
