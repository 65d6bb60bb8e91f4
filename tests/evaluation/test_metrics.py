"""Credit for ranks, ties and NaN, and intervals from a published table."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from alexnet.evaluation.metrics import credit, wilson_interval


def one(scores: list[float], label: int, k: int) -> float:
    return float(credit(torch.tensor([scores]), torch.tensor([label]), k)[0])


def credit_over_all_orders(scores: list[float], label: int, k: int) -> float:
    """How often the label is among the first k if tied classes come in every order."""
    hits, orders = 0, list(itertools.permutations(range(len(scores))))
    for tie_break in orders:
        ranked = sorted(tie_break, key=lambda c: -scores[c])  # stable: ties stay as they come
        hits += label in ranked[:k]
    return hits / len(orders)


def test_without_ties_it_is_counting() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(200, 12, generator=generator)
    labels = torch.randint(0, 12, (200,), generator=generator)
    ranks = np.argsort(-scores.numpy(), axis=1)
    for k in (1, 5):
        expected = [float(label in row[:k]) for row, label in zip(ranks, labels, strict=True)]
        assert credit(scores, labels, k).tolist() == expected


@settings(deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=2, max_size=6),
    st.integers(0, 5),
    st.integers(1, 5),
)
def test_ties_share_the_last_places(scores: list[float], label: int, k: int) -> None:
    """The authors' fraction is the expectation over all orders of the tied classes."""
    label %= len(scores)
    expected = credit_over_all_orders(scores, label, k)
    assert one(scores, label, k) == pytest.approx(expected, abs=1e-12)


def test_guessing_over_a_thousand_classes_earns_what_guessing_is_worth() -> None:
    """All logits equal: 0.1 % and 0.5 %, for every label, as in the authors' kernel."""
    scores, labels = torch.zeros(1000, 1000), torch.arange(1000)
    for k, expected in ((1, 0.001), (5, 0.005)):
        earned = credit(scores, labels, k)
        assert earned.dtype == torch.float64
        torch.testing.assert_close(earned, torch.full((1000,), expected, dtype=torch.float64))


def test_no_number_is_never_right() -> None:
    nan, infinity = float("nan"), float("inf")
    assert one([nan, 1.0, 0.0], 0, 1) == 0.0
    assert one([nan, 1.0, 0.0], 1, 1) == 0.0  # one NaN spoils the whole answer
    assert one([nan] * 3, 0, 5) == 0.0
    assert one([infinity, 1.0, 0.0], 0, 1) == 1.0
    assert one([infinity, infinity, 0.0], 0, 1) == 0.5
    assert one([-infinity, -infinity, 0.0], 0, 2) == 0.5
    rows = credit(torch.tensor([[nan, 1.0], [0.0, 1.0]]), torch.tensor([1, 1]), 1)
    assert rows.tolist() == [0.0, 1.0]


def test_with_fewer_classes_than_places_every_label_is_among_them() -> None:
    assert one([3.0, 2.0, 1.0], 2, 5) == 1.0


def test_credit_of_all_classes_adds_up_to_the_places() -> None:
    scores = torch.tensor([2.0, 2.0, 1.0, 1.0, 1.0, 0.0, 0.0]).repeat(7, 1)
    for k in range(1, 8):
        assert credit(scores, torch.arange(7), k).sum().item() == pytest.approx(k)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_any_float_type(dtype: torch.dtype) -> None:
    scores: Tensor = torch.tensor([[1.0, 3.0, 2.0]], dtype=dtype)
    assert credit(scores, torch.tensor([2]), 1).item() == 0.0
    assert credit(scores, torch.tensor([2]), 2).item() == 1.0


@pytest.mark.parametrize(("wrong", "images", "low", "high"), [
    # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I,
    # method 3: the score interval without continuity correction.
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0000, 0.1611),
    (1, 29, 0.0061, 0.1718),
])  # fmt: skip
def test_wilson_interval_of_the_published_table(
    wrong: int, images: int, low: float, high: float
) -> None:
    assert wilson_interval(wrong / images, images) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson_interval(1 - wrong / images, images)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 100_000), st.data())
def test_wilson_interval_holds_the_error_and_stays_in_0_to_1(
    images: int, data: st.DataObject
) -> None:
    error = data.draw(st.integers(0, images)) / images
    low, high = wilson_interval(error, images)
    assert 0.0 <= low <= error <= high <= 1.0
    assert (low == 0.0) >= (error == 0.0)
    assert (high == 1.0) >= (error == 1.0)
