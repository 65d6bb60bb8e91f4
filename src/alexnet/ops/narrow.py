"""Weights as bfloat16 products take them, whose gradients stay as the products give them.

Autocast brings the gradient of a weight to the weight's float32 at once. No bit is won by it, and
for the 59 million weights of fc6 to fc8 it is written and read again for nothing: a twentieth of a
step on a processor. Where a gradient is used once, as it comes, it may stay narrow.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from alexnet.native.build import library
from alexnet.ops.eager import is_eager
from alexnet.ops.pointers import pointers

# Of each weight its copy, and what that was made from; no attribute, which would be saved along.
_copies = WeakTensorKeyDictionary()


def allow_narrow_gradient(weight: Tensor) -> bool:
    """Let `weight.grad` be bfloat16 where `narrow` gave the weight to a product; whether it may.

    It may for a float32 weight on a processor with our compiled update, from torch 2.11 on, which
    knows gradients of another type than their tensors'. Only for gradients that are not added up,
    over passes or processes.
    """
    may = (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and weight.is_contiguous()
        and hasattr(weight, "grad_dtype")
        and library("momentum", threads=True) is not None
    )
    if may:
        weight.grad_dtype = torch.bfloat16
    return may


def narrow(weight: Tensor) -> Tensor:
    """The weight for a product under autocast; in all other cases as it is, for autocast to cast.

    The copy is kept beside the weight, for `momentum_update` to bring up to date.
    """
    kind = weight.device.type
    if (
        is_eager(weight)
        and kind == "cpu"  # where it was allowed; the weight may have moved since
        and weight.dtype == torch.float32
        and getattr(weight, "grad_dtype", None) == torch.bfloat16
        and torch.is_grad_enabled()  # a copy made in inference mode could not be learnt with
        and torch.is_autocast_enabled(kind)
        and torch.get_autocast_dtype(kind) == torch.bfloat16
    ):
        cast: Tensor = _Narrow.apply(weight)  # type: ignore[no-untyped-call]
        return cast
    return weight


def momentum_update(
    weight: Tensor, velocity: Tensor, gradient: Tensor, lr: float, momentum: float, decay: float
) -> None:
    """velocity <- momentum velocity + gradient + decay weight; weight <- weight - lr velocity.

    Args:
        weight, velocity: float32, contiguous, changed in place; with the weight its narrow copy.
        gradient: bfloat16, shaped like them.
    """
    copy = _copy_of(weight)
    native = library("momentum", threads=True)
    assert native is not None
    gradient = gradient.contiguous()
    tensors = pointers(weight, velocity, gradient, copy)
    factors = [ctypes.c_float(factor) for factor in (lr, momentum, decay)]
    native.update(*tensors, ctypes.c_int64(weight.numel()), *factors)
    torch.autograd.graph.increment_version([weight, velocity])
    if copy is not None:
        torch.autograd.graph.increment_version(copy)
        _keep(copy, weight)


class _Narrow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        copy = _copy_of(weight)
        if copy is None:
            copy = weight.detach().to(torch.bfloat16)
            _keep(copy, weight)
        return copy.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def _copy_of(weight: Tensor) -> Tensor | None:
    """The narrow copy, unless the weight has changed since."""
    copy, source = _copies.get(weight, (None, None))  # type: ignore[no-untyped-call]
    return copy if source == (weight.data_ptr(), weight._version) else None


def _keep(copy: Tensor, weight: Tensor) -> None:
    _copies[weight] = (copy, (weight.data_ptr(), weight._version))
