"""Local response normalisation across kernel maps (paper, section 3.3).

    b_i = a_i / (k + alpha * sum of a_j^2 over the window of `size` maps around i) ^ beta

The window is clipped at the first and last map of a column and never crosses the boundary between
columns: in the authors' code each GPU normalises its own kernels only.

Two conventions of alpha exist. The paper's equation multiplies the sum; the authors' code, Caffe
and torch divide alpha by the window's size first (`divide_alpha=True`).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from alexnet.ops.choice import way_of
from alexnet.ops.eager import is_eager
from alexnet.ops.lrn_fused import fused_relu_norm_pool
from alexnet.ops.native_stage import native_stage
from alexnet.ops.parts import Stage

# Images are normalised a few at a time, so that every temporary stays in the processor's cache:
# five to eight times faster than whole-batch passes, which are bound by memory.
_BLOCK_ELEMENTS = 1 << 19


def local_response_norm(
    x: Tensor,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    divide_alpha: bool = False,
    columns: int = 1,
) -> Tensor:
    """Normalise each activation by its neighbours at the same position of adjacent maps.

    The sum is accumulated in float32 at least. On a CPU a compiled loop with a closed-form gradient
    is used, or, for other types than float32 and bfloat16 and where there is no compiler, blocked
    passes of torch's own operations; on a GPU with Triton one kernel. Where operations are not
    carried out at once (export, tracing, `torch.func`, fake tensors), and on a CPU under
    `torch.compile`, it is the plain formula.

    Args:
        x: (N, C, H, W) or (N, C, *), any float type and memory format.
        size: maps in the window, odd; the paper's n.
        alpha, beta, k: the constants of section 3.3.
        divide_alpha: use alpha / size, as the authors' code, Caffe and torch do.
        columns: equal groups of maps that are normalised separately.

    Returns:
        As `x`.

    Raises:
        ValueError: an even window, or maps that do not split evenly into columns.
    """
    _check(x, size, columns)
    if divide_alpha:
        alpha = alpha / size
    image_like = x if x.ndim == 4 else x.unsqueeze(-1).flatten(2).unsqueeze(2)
    stage = Stage(relu=False, size=size, alpha=alpha, beta=beta, k=k, columns=columns)
    way = way_of(image_like, stage)
    if way == "native":
        return native_stage(image_like, stage).view_as(x)
    if way == "triton":
        return fused_relu_norm_pool(x, False, size, alpha, beta, k, columns)
    if x.device.type == "cpu" and is_eager(x):
        blocked: Tensor = _Blocked.apply(x, size, alpha, beta, k, columns)  # type: ignore[no-untyped-call]
        return blocked
    return local_response_norm_reference(x, size, alpha, beta, k, columns=columns)


def local_response_norm_reference(
    x: Tensor,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    divide_alpha: bool = False,
    columns: int = 1,
) -> Tensor:
    """The same function as plain torch operations; arguments as for `local_response_norm`."""
    _check(x, size, columns)
    if divide_alpha:
        alpha = alpha / size
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    by_column = _by_column(wide, columns)  # (N, columns, C / columns, H, W)
    denominator = k + alpha * _window_sum(by_column.square(), size)
    normalised: Tensor = by_column * denominator.pow(-beta)
    return normalised.flatten(1, 2).to(x.dtype)


def _by_column(x: Tensor, columns: int) -> Tensor:
    return x.view(x.shape[0], columns, x.shape[1] // columns, *x.shape[2:])


def _check(x: Tensor, size: int, columns: int) -> None:
    if size < 1 or size % 2 == 0:
        raise ValueError(f"the window must be odd, so that it has a middle; size is {size}")
    if x.ndim < 2 or x.shape[1] % columns:
        raise ValueError(f"{tuple(x.shape)} does not split into {columns} equal columns of maps")


def _window_sum(by_column: Tensor, size: int) -> Tensor:
    """Sum over the window around each map, clipped to the column. (N, columns, C, *)."""
    total = by_column.clone()
    for offset in range(1, min(size // 2 + 1, by_column.shape[2])):
        total[:, :, offset:] += by_column[:, :, :-offset]
        total[:, :, :-offset] += by_column[:, :, offset:]
    return total


def _inverse_power(denominator: Tensor, beta: float) -> Tensor:
    """denominator ^ -beta; the paper's beta = 3/4 without a call to pow, in place."""
    if beta != 0.75:
        return denominator.pow_(-beta)
    inverse_root = denominator.rsqrt_()
    return inverse_root.mul_(inverse_root.sqrt())


class _Blocked(torch.autograd.Function):
    """The closed form, a block of images at a time; keeps only its input for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, size: int, alpha: float, beta: float, k: float, columns: int
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.constants = (size, alpha, beta, k, columns)
        y = torch.empty_like(x)
        for block_x, block_y in _blocks(columns, x, y):
            a = _wide(block_x)
            denominator = _window_sum(a.square(), size).mul_(alpha).add_(k)
            block_y.copy_(_inverse_power(denominator, beta).mul_(a))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """dL/da_i = g_i d_i^-beta - 2 alpha beta a_i * sum over the window of g a d^-(beta+1)."""
        (x,) = ctx.saved_tensors
        size, alpha, beta, k, columns = ctx.constants
        gradient_x = torch.empty_like(x)
        for block_x, block_g, block_gx in _blocks(columns, x, gradient, gradient_x):
            a = _wide(block_x)
            denominator = _window_sum(a.square(), size).mul_(alpha).add_(k)
            inverse = denominator.reciprocal()
            direct = _inverse_power(denominator, beta).mul_(block_g)
            through = _window_sum(inverse.mul_(direct).mul_(a), size)
            block_gx.copy_(through.mul_(a).mul_(-2.0 * alpha * beta).add_(direct))
        return gradient_x, None, None, None, None, None


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _blocks(columns: int, *tensors: Tensor) -> Any:
    """Slices of a few images of each tensor, seen by column: (n, columns, C / columns, *)."""
    images = max(1, _BLOCK_ELEMENTS // max(1, tensors[0][:1].numel()))
    views = [_by_column(tensor, columns) for tensor in tensors]
    for start in range(0, len(tensors[0]), images):
        yield [view[start : start + images] for view in views]
