"""Dropout masks (paper, section 4.2) as a pure function of the sample, the step and the unit."""

import ctypes

import torch
from torch import Tensor

from alexnet.draws import philox
from alexnet.native.build import library
from alexnet.ops.eager import is_eager
from alexnet.ops.gpu import runs_triton
from alexnet.ops.pointers import pointers

_LANES = 8  # a Philox block of 128 bits decides for eight units, 16 bits each


def dropout_mask(
    keys: Tensor, units: int, drop_probability: float, layer: int, first_unit: int = 0
) -> Tensor:
    """Which units stay.

    Args:
        keys: (N, 2) int64, one key for each sample (`alexnet.draws.sample_keys`).
        units: how many units the layer has here.
        drop_probability: of setting a unit to zero, exact to 2^-16.
        layer: number of the layer, so that layers draw independently.
        first_unit: index of the first unit, where a device holds only some of a layer's units.

    Returns:
        (N, units) bool, True where the unit stays.
    """
    threshold = round(drop_probability * 2**16)
    if first_unit % _LANES == 0:
        if runs_triton(keys):
            on_gpu: Tensor = fused_dropout_mask(keys, units, threshold, layer, first_unit)
            return on_gpu
        if _is_native_for(keys):
            return native_dropout_mask(keys, units, threshold, layer, first_unit)
    return plain_dropout_mask(keys, units, threshold, layer, first_unit)


def plain_dropout_mask(
    keys: Tensor, units: int, threshold: int, layer: int, first_unit: int
) -> Tensor:
    """The definition, in torch's operations; `threshold` is the probability times 2^16."""
    first_block = first_unit // _LANES
    last_block = (first_unit + units + _LANES - 1) // _LANES
    block = torch.arange(first_block, last_block, device=keys.device)[None, :]  # (1, B)
    zero = torch.zeros_like(block)
    drawn = philox((block, zero + layer, zero, zero), (keys[:, :1], keys[:, 1:]))
    halves = [half for word in drawn for half in (word & 0xFFFF, word >> 16)]
    skipped = first_unit % _LANES
    lanes = torch.stack(halves, dim=-1).flatten(1)[:, skipped : skipped + units]
    return lanes >= threshold  # (N, units), 0 <= lane < 2^16


def _is_native_for(keys: Tensor) -> bool:
    return (
        keys.device.type == "cpu"
        and keys.dtype == torch.int64
        and is_eager(keys)
        and library("dropout", threads=True) is not None
    )


def native_dropout_mask(
    keys: Tensor, units: int, threshold: int, layer: int, first_unit: int
) -> Tensor:
    """The same bits from our own C (`native/dropout.c`)."""
    native = library("dropout", threads=True)
    assert native is not None
    keys = keys.contiguous()
    mask = torch.empty(len(keys), units, dtype=torch.bool)
    numbers = (len(keys), units, first_unit // _LANES, layer, threshold)
    given, filled = pointers(keys, mask)
    native.fill_mask(given, *(ctypes.c_int64(number) for number in numbers), filled)
    return mask


@torch.library.custom_op("alexnet::dropout_mask", mutates_args=())
def fused_dropout_mask(
    keys: Tensor, units: int, threshold: int, layer: int, first_unit: int
) -> Tensor:
    """The same bits from one Triton kernel."""
    from alexnet.ops.dropout_triton import fill_mask

    mask = torch.empty(len(keys), units, dtype=torch.bool, device=keys.device)
    fill_mask(keys.contiguous(), mask, threshold, layer, first_unit)
    return mask


@fused_dropout_mask.register_fake
def _(keys: Tensor, units: int, threshold: int, layer: int, first_unit: int) -> Tensor:
    return torch.empty(len(keys), units, dtype=torch.bool, device=keys.device)
