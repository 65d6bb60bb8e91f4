"""Intervals against literals worked out from tables of Student's t."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.claims.intervals import difference_of, mean_of, ratio_of, verdict_on


def test_mean_of_three_by_hand() -> None:
    """1, 2, 3: mean 2, spread 1; t(0.975, 2) = 4.302653, so 2 ± 4.302653 / sqrt 3."""
    found = mean_of("x", "%", [1.0, 2.0, 3.0])
    assert (found.mean, found.spread, found.seeds) == (2.0, 1.0, 3)
    assert found.low == pytest.approx(2 - 2.484138, abs=1e-5)
    assert found.high == pytest.approx(2 + 2.484138, abs=1e-5)


def test_difference_of_equal_variances_by_hand() -> None:
    """1, 2, 3 and 5, 6, 7: variance of the difference 2/3, 4 degrees, t(0.975, 4) = 2.776445."""
    found = difference_of("x", "points", [5.0, 6.0, 7.0], [1.0, 2.0, 3.0])
    assert found.mean == 4.0
    assert found.low == pytest.approx(4 - 2.776445 * math.sqrt(2 / 3), abs=1e-5)
    assert found.high == pytest.approx(4 + 2.776445 * math.sqrt(2 / 3), abs=1e-5)


def test_difference_of_unequal_variances_by_hand() -> None:
    """0, 2 against a constant 5, 5: one degree of freedom, t(0.975, 1) = 12.7062, deviation 1."""
    found = difference_of("x", "points", [5.0, 5.0], [0.0, 2.0])
    assert (found.mean, found.high) == (4.0, pytest.approx(4 + 12.7062, abs=1e-3))


def test_ratio_is_that_of_geometric_means() -> None:
    """36, 36·e against 6, 6·e: ratio 6, the interval symmetric on the logarithms."""
    found = ratio_of("x", [36.0, 36.0 * math.e], [6.0, 6.0 * math.e], paper=6.0)
    assert found.mean == pytest.approx(6.0)
    assert found.low is not None
    assert found.high is not None
    # Variance of a mean of two logarithms one apart: 0.5 / 2; of their difference 0.5; 2 degrees.
    assert math.log(found.high / 6.0) == pytest.approx(4.302653 * math.sqrt(0.5), abs=1e-5)
    assert found.low * found.high == pytest.approx(36.0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(1, 100), min_size=2, max_size=5), st.floats(0.1, 10))
def test_a_ratio_does_not_know_the_unit(values: list[float], unit: float) -> None:
    other = [2.0 * value + 1.0 for value in values]
    a = ratio_of("x", values, other)
    b = ratio_of("x", [unit * v for v in values], [unit * v for v in other])
    assert b.mean == pytest.approx(a.mean)
    assert b.low == pytest.approx(a.low)


@pytest.mark.parametrize(("a", "b", "word"), [
    ([], [1.0], "not measured"),
    ([2.0], [1.0], "in the paper's direction in the runs so far"),
    ([1.0], [2.0], "against the paper in the runs so far"),
    ([2.0], [2.0], "no difference in the runs so far"),
    ([5.0, 5.1], [1.0, 1.1], "confirmed"),
    ([1.0, 1.1], [5.0, 5.1], "contradicted"),
    ([1.0, 9.0], [2.0, 7.0], "not resolved"),
])  # fmt: skip
def test_verdicts(a: list[float], b: list[float], word: str) -> None:
    assert word in verdict_on(difference_of("x", "points", a, b), "expected")
