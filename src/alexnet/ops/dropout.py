"""Dropout masks (paper, section 4.2) as a pure function of the sample, the step and the unit."""

import torch
from torch import Tensor

from alexnet.draws import philox

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
    first_block = first_unit // _LANES
    last_block = (first_unit + units + _LANES - 1) // _LANES
    block = torch.arange(first_block, last_block, device=keys.device)[None, :]  # (1, B)
    zero = torch.zeros_like(block)
    drawn = philox((block, zero + layer, zero, zero), (keys[:, :1], keys[:, 1:]))
    halves = [half for word in drawn for half in (word & 0xFFFF, word >> 16)]
    skipped = first_unit % _LANES
    lanes = torch.stack(halves, dim=-1).flatten(1)[:, skipped : skipped + units]
    return lanes >= round(drop_probability * 2**16)  # (N, units), 0 <= lane < 2^16
