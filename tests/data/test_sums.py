"""Sums of images in integers: against the plain way, in any order, at the extremes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.data import sums as sums_module
from alexnet.data.sums import no_sums, sum_images


def plain_products(images: np.ndarray) -> np.ndarray:
    colors = images.reshape(-1, 3).astype(np.int64)
    return colors.T @ colors


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 200), st.integers(0, 4), st.integers(0, 2**32))
def test_exact_for_any_size(size, count, seed):
    images = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    sums = sum_images(images, size)
    assert sums.count == count
    np.testing.assert_array_equal(sums.pixels, images.sum(axis=0, dtype=np.int64))
    np.testing.assert_array_equal(sums.products, plain_products(images))


@pytest.mark.parametrize("value", [0, 127, 128, 255])
def test_exact_at_the_extremes(value):
    images = np.full((3, 256, 256, 3), value, dtype=np.uint8)
    np.testing.assert_array_equal(sum_images(images, 256).products, plain_products(images))


@pytest.mark.parametrize("loops", ["compiled", "plain"])
def test_exact_for_large_images(loops, monkeypatch):
    """1024^2 products of 255 with itself are more than 32 bits hold."""
    if loops == "plain":
        monkeypatch.setattr(sums_module, "library", lambda name: None)
    images = np.full((1, 1024, 1024, 3), 255, dtype=np.uint8)
    products = sum_images(images, 1024).products
    np.testing.assert_array_equal(products, np.full((3, 3), 255**2 * 1024**2))


def test_sums_of_parts_add_up_to_the_bit():
    images = np.random.default_rng(1).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    expected = sum_images(images, 32).statistics()
    sums = no_sums(32) + sum_images(images[5:], 32) + sum_images(images[:5], 32)
    np.testing.assert_array_equal(sums.statistics().mean_image, expected.mean_image)
    for name in ("vectors", "deviations"):
        np.testing.assert_array_equal(
            getattr(sums.statistics().components, name), getattr(expected.components, name)
        )
