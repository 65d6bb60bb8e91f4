"""ReLU, local response normalisation and max pooling, as they follow conv1 and conv2 (paper, 3.5).

One operation, because on a GPU each of the three alone would only wait for memory.
"""

import torch.nn.functional as F
from torch import Tensor

from alexnet.ops.lrn import local_response_norm
from alexnet.ops.lrn_fused import fused_relu_norm_pool, is_available


def relu_norm_pool(
    x: Tensor,
    *,
    relu: bool = True,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    columns: int = 1,
    window: int | None = 3,
    stride: int | None = 2,
    ceil_mode: bool = True,
) -> Tensor:
    """max_pool2d(local_response_norm(relu(x))), in one kernel where the device has Triton.

    The kernel compares normalised values in float32 and rounds only the winner, so it may choose
    between values that are equal once rounded; otherwise maxima are chosen as in torch: the first
    of equal ones, and NaN before everything.

    Args:
        x: (N, C, H, W), any float type and memory format.
        relu: whether the ReLU comes first.
        size, beta, k, columns: as for `local_response_norm`.
        alpha: the factor of the sum; the authors' convention passes alpha / size.
        window, stride: of the pooling, in pixels; None: no pooling.
        ceil_mode: whether a window may hang over the right and bottom edge, as in 2012.

    Returns:
        (N, C, H', W'), in the type of x.

    Raises:
        ValueError: an even window across the maps, or maps that do not split evenly into columns.
    """
    if is_available(x):
        return fused_relu_norm_pool(
            x, relu, size, alpha, beta, k, columns, window or 1, stride or 1, ceil_mode
        )
    if relu:
        x = F.relu(x)
    y = local_response_norm(x, size, alpha, beta, k, columns=columns)
    if window is None:
        return y
    return F.max_pool2d(y, window, stride, ceil_mode=ceil_mode)
