"""The Triton kernels of `lrn_triton` as operations that autograd and `torch.compile` know.

Kept for the backward pass: the input, and for each pooled value one byte with its place in the
window, where torch keeps an index of eight.
"""

from typing import Any

import torch
from torch import Tensor

from alexnet.ops.gpu import runs_triton
from alexnet.ops.pooling import pooled_side

_STORAGE = (torch.float32, torch.bfloat16, torch.float16)
_LARGEST_WINDOW = 16  # 16 x 16 places fit into a byte


def is_available(x: Tensor, window: int = 1) -> bool:
    """Whether `fused_relu_norm_pool` can take this tensor, with a pooling window of this side."""
    return x.dtype in _STORAGE and window <= _LARGEST_WINDOW and runs_triton(x)


def fused_relu_norm_pool(
    x: Tensor,
    relu: bool,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    columns: int,
    window: int = 1,
    stride: int = 1,
    ceil_mode: bool = True,
) -> Tensor:
    """`alexnet.ops.run_stage` by one kernel; window = stride = 1 leaves the pooling out.

    Compares normalised values in float32 and rounds only the winner, so it may choose between
    values that are equal once rounded; otherwise maxima are chosen as in torch: the first of equal
    ones, and NaN before everything.

    Args:
        x: (N, C, H, W), or (N, C, *) without pooling; float32, bfloat16 or float16 on a GPU.
        relu, size, alpha, beta, k, columns, window, stride, ceil_mode: as of `Stage`; alpha is
            the factor of the sum.

    Returns:
        (N, C, H', W') in the type and memory format of x.

    Raises:
        ValueError: an even window across the maps, maps that do not split evenly into columns, a
            pooling window larger than 16, or a tensor too large for 32-bit indices.
    """
    if size < 1 or size % 2 == 0 or x.shape[1] % columns:
        raise ValueError(f"{size} maps around each of {x.shape[1]} in {columns} columns: no such")
    if not 1 <= window <= _LARGEST_WINDOW or stride < 1:
        raise ValueError(f"pooling windows have 1 to 16 pixels a side, not {window}/{stride}")
    images = x if x.ndim == 4 else x.unsqueeze(-1).flatten(2).unsqueeze(-1)
    keep_winners = torch.is_grad_enabled() and x.requires_grad and window > 1
    y: Tensor = _forward(
        images, relu, size, alpha, beta, k, columns, window, stride, ceil_mode, keep_winners
    )[0]
    return y if x.ndim == 4 else y.view_as(x)


@torch.library.custom_op("alexnet::relu_norm_pool", mutates_args=())
def _forward(
    x: Tensor,
    relu: bool,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    columns: int,
    window: int,
    stride: int,
    ceil_mode: bool,
    keep_winners: bool,
) -> tuple[Tensor, Tensor]:
    from alexnet.ops import lrn_triton

    y, winners = _outputs(x, window, stride, ceil_mode, keep_winners)
    stage = lrn_triton.Constants(relu, size, alpha, beta, k, columns, window, stride)
    x = x.contiguous(memory_format=_memory_format(x))
    lrn_triton.forward(x, y, winners if keep_winners else None, stage)
    return y, winners


@_forward.register_fake
def _(
    x: Tensor,
    relu: bool,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    columns: int,
    window: int,
    stride: int,
    ceil_mode: bool,
    keep_winners: bool,
) -> tuple[Tensor, Tensor]:
    return _outputs(x, window, stride, ceil_mode, keep_winners)


@torch.library.custom_op("alexnet::relu_norm_pool_backward", mutates_args=())
def _backward(
    x: Tensor,
    gradient_y: Tensor,
    winners: Tensor,
    relu: bool,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    columns: int,
    window: int,
    stride: int,
) -> Tensor:
    from alexnet.ops import lrn_triton

    memory_format = _memory_format(x)
    x = x.contiguous(memory_format=memory_format)
    gradient_x = torch.empty_like(x)
    stage = lrn_triton.Constants(relu, size, alpha, beta, k, columns, window, stride)
    lrn_triton.backward(
        x,
        gradient_y.contiguous(memory_format=memory_format),
        winners if window > 1 else None,
        gradient_x,
        stage,
    )
    return gradient_x


@_backward.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x, memory_format=_memory_format(x))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, *constants = inputs
    ctx.set_materialize_grads(False)  # the winners have no gradient
    ctx.save_for_backward(x, output[1])
    ctx.constants = constants[:8]


def _differentiate(ctx: Any, gradient_y: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    x, winners = ctx.saved_tensors
    return _backward(x, gradient_y, winners, *ctx.constants), *[None] * 10


_forward.register_autograd(_differentiate, setup_context=_keep)


def _outputs(
    x: Tensor, window: int, stride: int, ceil_mode: bool, keep_winners: bool
) -> tuple[Tensor, Tensor]:
    """Empty tensors for what the forward pass makes; without winners their tensor is empty too."""
    sides = [pooled_side(side, window, stride, ceil_mode) for side in x.shape[2:]]
    shape = (*x.shape[:2], *sides)
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=_memory_format(x))
    if keep_winners:
        return y, torch.empty_like(y, dtype=torch.uint8)
    return y, torch.empty(0, dtype=torch.uint8, device=x.device)


def _memory_format(x: Tensor) -> torch.memory_format:
    if x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format
