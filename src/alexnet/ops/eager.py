"""Whether our own loops may take a tensor, or only torch's operations mean something."""

import torch
from torch import Tensor
from torch.autograd import forward_ad


def is_eager(x: Tensor) -> bool:
    """Whether an operation on `x` is carried out at once, on numbers that lie in memory.

    It is not where operations are recorded (torch.compile, torch.export, torch.jit.trace and the
    ONNX export that uses it), done on shapes alone (fake tensors), transformed (torch.func),
    differentiated forwards or watched by a dispatch mode.
    """
    return not (
        torch.compiler.is_compiling()
        or torch._C._is_tracing()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or forward_ad._current_level >= 0
        or type(x) not in (Tensor, torch.nn.Parameter)
    )
