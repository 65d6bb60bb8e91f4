"""Dropout masks: which units stay is a pure function, fair and independent."""

import numpy as np
import pytest
import torch
from torch import Tensor

from alexnet.draws import philox, sample_keys
from alexnet.native.build import library
from alexnet.ops import dropout_mask
from alexnet.ops.dropout import native_dropout_mask, plain_dropout_mask


def keys(count: int, step: int = 0) -> Tensor:
    return torch.from_numpy(sample_keys(0, step, np.arange(count)))


def test_a_block_of_philox_decides_for_eight_units() -> None:
    """Frozen for ever: the low half, then the high half of each of the four words."""
    key = (123456789, 987654321)
    mask = dropout_mask(torch.tensor([key]), 20, 0.25, layer=6)[0]
    lanes = []
    for block in range(3):
        for word in philox((block, 6, 0, 0), key):
            lanes += [word % 2**16, word // 2**16]
    assert mask.tolist() == [lane >= 2**14 for lane in lanes[:20]]


@pytest.mark.parametrize("probability", [0.5, 0.1, 0.9])
def test_units_are_dropped_with_the_probability(probability: float) -> None:
    mask = dropout_mask(keys(250), 4096, probability, layer=6)
    assert mask.shape == (250, 4096)
    assert mask.dtype == torch.bool
    sigma = (probability * (1 - probability)) ** 0.5
    assert abs(1 - mask.double().mean() - probability) < 4 * sigma / mask.numel() ** 0.5
    per_unit, per_sample = mask.double().mean(0), mask.double().mean(1)
    assert abs(1 - per_unit - probability).max() < 5 * sigma / 250**0.5
    assert abs(1 - per_sample - probability).max() < 5 * sigma / 4096**0.5


def test_nothing_is_dropped_with_probability_0() -> None:
    assert dropout_mask(keys(4), 100, 0.0, layer=6).all()


def test_samples_steps_layers_and_neighbours_are_independent() -> None:
    base = dropout_mask(keys(64), 4096, 0.5, layer=6)
    others = {
        "layer": dropout_mask(keys(64), 4096, 0.5, layer=7),
        "step": dropout_mask(keys(64, step=1), 4096, 0.5, layer=6),
        "sample": base.roll(1, 0),
        "unit": base.roll(1, 1),
        "half word": base.roll(2, 1),
        "block": base.roll(8, 1),
    }
    for name, other in others.items():
        agreement = (base == other).double().mean()
        assert abs(agreement - 0.5) < 4 * 0.5 / base.numel() ** 0.5, name


def test_a_sample_keeps_its_mask_in_any_batch() -> None:
    together = dropout_mask(keys(10), 50, 0.5, layer=6)
    alone = [dropout_mask(keys(10)[i : i + 1], 50, 0.5, layer=6) for i in range(10)]
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize(("first", "units"), [(0, 8), (2048, 2048), (8, 5), (96, 100)])
def test_part_of_a_layer_gets_its_part_of_the_mask(first: int, units: int) -> None:
    whole = dropout_mask(keys(6), 4096, 0.5, layer=7)
    part = dropout_mask(keys(6), units, 0.5, layer=7, first_unit=first)
    assert torch.equal(part, whole[:, first : first + units])


def test_more_units_do_not_change_the_first() -> None:
    long, short = (dropout_mask(keys(3), units, 0.5, layer=6) for units in (37, 13))
    assert torch.equal(long[:, :13], short)


@pytest.mark.skipif(library("dropout", threads=True) is None, reason="no C compiler here")
@pytest.mark.parametrize("first_unit", [0, 8, 2048])
@pytest.mark.parametrize("units", [1, 7, 8, 511, 512, 513, 4096])
@pytest.mark.parametrize("threshold", [0, 1, 2**15, 2**16 - 1, 2**16])
def test_compiled_masks_are_those_of_the_definition(
    units: int, first_unit: int, threshold: int
) -> None:
    given = keys(5)[[4, 0, 0, 2]]
    arguments = (units, threshold, 7, first_unit)
    expected = plain_dropout_mask(given, *arguments)
    assert torch.equal(native_dropout_mask(given, *arguments), expected)


@pytest.mark.skipif(library("dropout", threads=True) is None, reason="no C compiler here")
def test_compiled_masks_of_no_samples_and_of_every_key() -> None:
    assert native_dropout_mask(keys(0), 16, 2**15, 6, 0).shape == (0, 16)
    largest = torch.tensor([[2**32 - 1, 2**32 - 1], [0, 2**32 - 1]])
    expected = plain_dropout_mask(largest, 100, 2**15, 6, 0)
    assert torch.equal(native_dropout_mask(largest, 100, 2**15, 6, 0), expected)
