"""From pixels to what the first convolution reads: the mean is subtracted (paper, section 2)."""

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.native.build import library
from alexnet.ops.eager import is_eager
from alexnet.ops.pointers import pointers

_PIXELS = (torch.uint8, torch.float32)
_PRODUCTS = (torch.float32, torch.bfloat16)


def centered(images: Tensor, mean: Tensor, overhang: int = 0) -> Tensor:
    """The images without the mean.

    Args:
        images: (N, C, H, W) of any type.
        mean: (C, H, W) float, in the units of the images.
        overhang: columns and rows of zeros to add on the right and at the bottom.

    Returns:
        (N, C, H + overhang, W + overhang), in the type of the mean, or at once in that of the
        products under autocast where that spares a pass over memory; the difference is taken in
        the type of the mean, and rounded once, either way.
    """
    dtype = _type_of_products(images, mean)
    if _is_native_for(images, mean, dtype):
        return _in_one_pass(images, mean, overhang, dtype)
    return F.pad(images.to(mean.dtype) - mean, (0, overhang, 0, overhang))


def _type_of_products(images: Tensor, mean: Tensor) -> torch.dtype:
    kind = images.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else mean.dtype


def _is_native_for(images: Tensor, mean: Tensor, dtype: torch.dtype) -> bool:
    return (
        is_eager(images)  # first, for transformed tensors cannot be asked all of this
        and images.device.type == mean.device.type == "cpu"
        and mean.shape == images.shape[1:]
        and images.dtype in _PIXELS
        and mean.dtype == torch.float32
        and dtype in _PRODUCTS
        and not (torch.is_grad_enabled() and (images.requires_grad or mean.requires_grad))
        and images.is_contiguous(memory_format=torch.channels_last)
        and library("center", threads=True) is not None
    )


class _Centering(ctypes.Structure):
    """`Centering` of center.c."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            *("images", "channels", "height", "width", "overhang"),
            *("from_bytes", "to_bfloat16"),
        )
    )


def _in_one_pass(images: Tensor, mean: Tensor, overhang: int, dtype: torch.dtype) -> Tensor:
    count, channels, height, width = images.shape
    out = torch.empty(
        (count, channels, height + overhang, width + overhang),
        dtype=dtype,
        memory_format=torch.channels_last,
    )
    types = (images.dtype == torch.uint8, dtype == torch.bfloat16)
    task = _Centering(count, channels, height, width, overhang, *types)
    by_pixel = mean.permute(1, 2, 0).contiguous()
    native = library("center", threads=True)
    assert native is not None
    native.center(ctypes.byref(task), *pointers(images, by_pixel, out))
    return out
