"""Dropout masks (paper, section 4.2) as a pure function of the sample, the step and the unit."""

import torch
from torch import Tensor

from alexnet.draws import philox
from alexnet.ops.gpu import runs_triton

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
    if runs_triton(keys) and first_unit % _LANES == 0:
        on_gpu: Tensor = fused_dropout_mask(keys, units, threshold, layer, first_unit)
        return on_gpu
    first_block = first_unit // _LANES
    last_block = (first_unit + units + _LANES - 1) // _LANES
    block = torch.arange(first_block, last_block, device=keys.device)[None, :]  # (1, B)
    zero = torch.zeros_like(block)
    drawn = philox((block, zero + layer, zero, zero), (keys[:, :1], keys[:, 1:]))
    halves = [half for word in drawn for half in (word & 0xFFFF, word >> 16)]
    skipped = first_unit % _LANES
    lanes = torch.stack(halves, dim=-1).flatten(1)[:, skipped : skipped + units]
    return lanes >= threshold  # (N, units), 0 <= lane < 2^16


@torch.library.custom_op("alexnet::dropout_mask", mutates_args=())
def fused_dropout_mask(
    keys: Tensor, units: int, threshold: int, layer: int, first_unit: int
) -> Tensor:
    """The same bits from one Triton kernel; `threshold` is the probability times 2^16."""
    from alexnet.ops.dropout_triton import fill_mask

    mask = torch.empty(len(keys), units, dtype=torch.bool, device=keys.device)
    fill_mask(keys.contiguous(), mask, threshold, layer, first_unit)
    return mask


@fused_dropout_mask.register_fake
def _(keys: Tensor, units: int, threshold: int, layer: int, first_unit: int) -> Tensor:
    return torch.empty(len(keys), units, dtype=torch.bool, device=keys.device)
