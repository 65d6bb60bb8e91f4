"""Intervals against literals worked out from tables of Student's t."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alexnet.claims.intervals import difference_of, mean_of, noise_of, ratio_of, verdict_on


def test_mean_of_three_by_hand() -> None:
    """1, 2, 3: mean 2, spread 1; t(0.975, 2) = 4.302653, so 2 ± 4.302653 / sqrt 3."""
    found = mean_of("x", "points", [1.0, 2.0, 3.0])
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


def test_noise_of_several_arms_by_hand() -> None:
    """1, 3 and 10, 12, 14 and 7: squares 2 and 8 over 1 + 2 degrees; a single run says nothing."""
    arms = [[1.0, 3.0], [10.0, 12.0, 14.0], [7.0]]
    noise = noise_of(arms)
    assert noise is not None
    assert (noise.deviation, noise.freedom) == (pytest.approx(math.sqrt(10 / 3)), 3)
    # t(0.975, 3) = 3.182446
    reach = 3.182446 * math.sqrt(10 / 3)
    found = difference_of("x", "points", arms[1], arms[0], noise=noise)
    assert found.mean == 10.0
    assert found.low == pytest.approx(10 - reach * math.sqrt(1 / 2 + 1 / 3), abs=1e-5)
    assert found.high == pytest.approx(10 + reach * math.sqrt(1 / 2 + 1 / 3), abs=1e-5)
    single = mean_of("x", "points", arms[2], noise=noise)
    assert (single.low, single.spread) == (pytest.approx(7 - reach, abs=1e-5), None)


def test_values_that_chance_made_equal_have_no_interval() -> None:
    assert noise_of([[4.0, 4.0], [5.0]]) is None
    assert mean_of("x", "%", [4.0, 4.0]).low is None
    assert noise_of([[22.1] * 3, [22.1] * 3]) is None  # whose mean is rounded
    assert difference_of("x", "points", [4.0, 4.0], [5.0, 5.0]).low is None


def test_an_interval_of_shares_ends_where_shares_do() -> None:
    assert mean_of("x", "of 1", [0.6, 1.0]).high == 1.0
    assert mean_of("x", "%", [1.0, 9.0]).low == 0.0
    assert mean_of("x", "points", [1.0, 9.0]).low < 0.0  # type: ignore[operator]


def test_with_two_arms_noise_is_that_of_students_comparison() -> None:
    """As `test_difference_of_equal_variances_by_hand`: where deviations agree, so do intervals."""
    a, b = [5.0, 6.0, 7.0], [1.0, 2.0, 3.0]
    welch, student = (difference_of("x", "", a, b, noise=n) for n in (None, noise_of([a, b])))
    assert (welch.low, welch.high) == pytest.approx((student.low, student.high))


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
@example([1.0, 1.0, 1.0], 2.0)  # log 3 three times: their mean is rounded, and is not log 3
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
