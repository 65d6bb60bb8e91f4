"""Colour selectivity against literals worked out by hand, and the test of the columns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.evaluation.kernels import color_selectivity, compare_columns, learned


def kernel(*colors: float) -> np.ndarray:
    """One kernel of 1x1."""
    return np.array(colors, dtype=np.float64).reshape(1, 3, 1, 1)


@pytest.mark.parametrize(("colors", "expected"), [
    ((1, 1, 1), 0.0),  # grey
    ((-2, -2, -2), 0.0),
    ((1, 0, 0), 2 / 3),  # red alone: 1 - (1 / 3) / 1
    ((1, -1, 0), 1.0),  # red against green
    ((1, 1, -2), 1.0),  # yellow against blue
    ((2, 1, 0), 1 - 3 / 5),  # (2 + 1)² / 3 = 3 of 5
    ((1, 1, 0), 1 / 3),
])  # fmt: skip
def test_by_hand(colors: tuple[float, ...], expected: float) -> None:
    assert color_selectivity(kernel(*colors)) == pytest.approx([expected], abs=1e-12)


def test_energy_counts_where_it_is() -> None:
    """A kernel of two pixels, one grey of energy 12 and one red of energy 6: 1 - (12 + 2) / 18."""
    weights = np.zeros((1, 3, 1, 2))
    weights[0, :, 0, 0] = 2.0
    weights[0, 0, 0, 1] = np.sqrt(6.0)
    assert color_selectivity(weights) == pytest.approx([4 / 18])


def test_a_kernel_of_zeros_has_none() -> None:
    assert np.isnan(color_selectivity(np.zeros((1, 3, 2, 2)))).all()


def test_random_weights_have_two_thirds() -> None:
    weights = np.random.default_rng(0).normal(size=(200, 3, 11, 11))
    assert color_selectivity(weights).mean() == pytest.approx(2 / 3, abs=0.005)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 100), st.integers(0, 1000))
def test_neither_size_nor_sign_matters(scale: float, seed: int) -> None:
    weights = np.random.default_rng(seed).normal(size=(2, 3, 3, 3))
    found = color_selectivity(weights)
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(color_selectivity(-scale * weights), found, rtol=1e-9)


def test_columns_that_differ_and_columns_that_do_not() -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.normal(size=(24, 1, 5, 5)), 3, axis=1) + 0.1 * rng.normal(
        size=(24, 3, 5, 5)
    )
    noise = rng.normal(size=(24, 3, 5, 5))
    apart = compare_columns(np.concatenate([grey, noise]))
    assert (apart.colorful_column, apart.superiority) == (1, 1.0)
    assert apart.p_value < 1e-6
    assert compare_columns(np.concatenate([noise, grey])).colorful_column == 0
    alike = compare_columns(rng.normal(size=(48, 3, 5, 5)))
    assert alike.p_value > 0.05
    assert 0.5 <= alike.superiority < 0.7


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_column_without_kernels_to_compare_tells_nothing(value: float) -> None:
    kernels = np.random.default_rng(0).normal(size=(8, 3, 5, 5))
    kernels[4:] = value
    found = compare_columns(kernels)
    assert (found.superiority, found.p_value) == (0.5, 1.0)


def test_superiority_is_the_share_of_pairs() -> None:
    """Selectivities 0, 2/3 against 1/3, 1: of four pairs three have the second column ahead."""
    kernels = np.concatenate([kernel(1, 1, 1), kernel(1, 0, 0), kernel(1, 1, 0), kernel(1, -1, 0)])
    assert compare_columns(kernels).superiority == pytest.approx(3 / 4)


def test_what_has_grown() -> None:
    kernels = np.stack([np.full((3, 2, 2), value) for value in (0.01, 0.019, 0.021, -0.5)])
    assert learned(kernels, 0.01).tolist() == [False, False, True, True]


def test_p_value_by_hand() -> None:
    """Three kernels apart from three others: 2 of the 20 orders are as extreme."""
    shares = [(1.0, 1.0, 1.0), (1.0, 1.0, 0.9), (1.0, 1.0, 0.8)]
    others = [(1.0, -1.0, 0.0), (1.0, -1.0, 0.1), (1.0, -1.0, 0.2)]
    kernels = np.array([*shares, *others]).reshape(6, 3, 1, 1)
    found = compare_columns(kernels)
    assert found.p_value == pytest.approx(0.1)
    assert (found.colorful_column, found.superiority) == (1, 1.0)
