"""A stage on a CPU in our own C (`native/stage.c`), with its gradient."""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from alexnet.native.build import library
from alexnet.ops.eager import is_eager
from alexnet.ops.parts import Stage
from alexnet.ops.pointers import pointers
from alexnet.ops.pooling import pooled_side

_TYPES = {torch.float32: 0, torch.bfloat16: 1}
_LARGEST_WINDOW = 15  # of pooling: its places are counted in bytes


class _Stage(ctypes.Structure):
    """`Stage` of stage.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("images", "channels", "height", "width")),
        *((f"{name}_stride", ctypes.c_int64) for name in ("image", "channel", "row", "pixel")),
        *((name, ctypes.c_int64) for name in ("pooled_height", "pooled_width", "columns")),
        *((name, ctypes.c_int64) for name in ("relu", "size", "window", "stride", "type")),
        *((name, ctypes.c_float) for name in ("alpha", "beta", "k")),
    )


def is_native_for(x: Tensor, window: int = 0) -> bool:
    """Whether `native_stage` can take these activations."""
    return (
        is_eager(x)  # first, for transformed tensors cannot be asked all of this
        and x.device.type == "cpu"
        and x.dtype in _TYPES
        and x.ndim == 4
        and x.numel() > 0
        and window <= _LARGEST_WINDOW
        and (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last))
        and library("stage", threads=True) is not None
    )


def native_stage(x: Tensor, stage: Stage) -> Tensor:
    """ReLU, normalisation and max pooling in one pass.

    For the backward pass only `x` and one byte a pooled activation are kept.

    Args:
        x: (N, C, H, W) for which `is_native_for` holds.
        stage: which parts there are.

    Returns:
        (N, C, H', W') in the type and memory format of `x`.
    """
    y: Tensor = _Native.apply(x, stage)  # type: ignore[no-untyped-call]
    return y


class _Native(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, parts: Stage) -> Tensor:
        stage = _describe(x, parts)
        shape = (*x.shape[:2], stage.pooled_height, stage.pooled_width)
        winners = None
        if not stage.window:
            y = torch.empty_like(x)
        else:
            y = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
            if ctx.needs_input_grad[0]:
                winners = torch.empty(y.numel(), dtype=torch.uint8)
        _call("stage_forward", stage, x, y, winners)
        ctx.save_for_backward(x, winners)
        ctx.stage = stage
        return y if _by_pixel(x) else y.contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, winners = ctx.saved_tensors
        stage = ctx.stage
        by_pixel = stage.window or _by_pixel(x)
        layout = torch.channels_last if by_pixel else torch.contiguous_format
        gradient = gradient.contiguous(memory_format=layout)
        gradient_x = torch.empty_like(x)
        _call("stage_backward", stage, x, gradient.to(x.dtype), winners, gradient_x)
        return gradient_x, None


def _by_pixel(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def _describe(x: Tensor, parts: Stage) -> _Stage:
    images, channels, height, width = x.shape
    sizes = (images, channels, height, width)
    strides = (
        (channels * height * width, 1, width * channels, channels)
        if _by_pixel(x)
        else (channels * height * width, height * width, width, 1)
    )
    pooled = (
        pooled_side(side, parts.window, parts.stride, parts.ceil_mode) if parts.window else side
        for side in (height, width)
    )
    integers = (parts.columns, parts.relu, parts.size, parts.window, parts.stride, _TYPES[x.dtype])
    return _Stage(*sizes, *strides, *pooled, *integers, parts.alpha, parts.beta, parts.k)


def _call(function: str, stage: _Stage, *tensors: Tensor | None) -> None:
    native = library("stage", threads=True)
    assert native is not None
    if not getattr(native, function)(ctypes.byref(stage), *pointers(*tensors)):
        raise MemoryError(f"no memory for {function}")
