"""Mean image and colour components against NumPy on all pixels at once."""

import numpy as np
import numpy.typing as npt
import pytest

from alexnet.data.statistics import Statistics
from alexnet.data.sums import sum_images


def pictures(count: int = 40, side: int = 6) -> npt.NDArray[np.uint8]:
    """Correlated channels, as colours are, and a gradient, so that places differ."""
    rng = np.random.default_rng(0)
    grey = rng.normal(0, 50, (count, side, side, 1)) + 10 * np.arange(side)[:, None, None]
    values = 110 + grey + rng.normal(0, [10, 3, 14], (count, side, side, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


def accumulated(images: npt.NDArray[np.uint8]) -> Statistics:
    return sum_images(images, images.shape[1]).statistics()


def test_mean_image_is_the_mean_of_each_pixel() -> None:
    images = pictures()
    found = accumulated(images).mean_image
    assert found.shape == (6, 6, 3)
    np.testing.assert_allclose(found, images.mean(axis=0, dtype=np.float64), rtol=1e-13)
    assert found[5, 0, 0] - found[0, 0, 0] > 20  # of each pixel, not of each channel


def test_components_are_the_eigenvectors_of_the_covariance_of_all_pixels() -> None:
    images = pictures()
    components = accumulated(images).components
    covariance = np.cov(images.reshape(-1, 3).T, bias=True)
    vectors, deviations = components.vectors, components.deviations
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(covariance @ vectors, vectors * deviations**2, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose((deviations**2).sum(), np.trace(covariance), rtol=1e-12)
    projected = (images.reshape(-1, 3) - images.reshape(-1, 3).mean(0)) @ vectors
    np.testing.assert_allclose(projected.std(0), deviations, rtol=1e-9)


def test_order_of_the_images_does_not_matter_to_the_bit() -> None:
    images = pictures()
    forwards, backwards = accumulated(images), accumulated(images[::-1])
    np.testing.assert_array_equal(forwards.mean_image, backwards.mean_image)
    np.testing.assert_array_equal(forwards.components.vectors, backwards.components.vectors)
    np.testing.assert_array_equal(forwards.components.deviations, backwards.components.deviations)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_images_without_colour_or_contrast(value: int) -> None:
    """Rounding may not make a variance negative, and so a deviation no number."""
    flat = accumulated(np.full((3, 5, 5, 3), value, dtype=np.uint8))
    np.testing.assert_array_equal(flat.mean_image, value)
    assert np.isfinite(flat.components.deviations).all()
    np.testing.assert_allclose(flat.components.deviations, 0.0, atol=1e-4)
    grey = np.repeat(pictures()[..., :1], 3, axis=-1)
    deviations = np.sort(accumulated(grey).components.deviations)
    np.testing.assert_allclose(deviations[:2], 0.0, atol=1e-4)
    assert deviations[2] == pytest.approx(np.sqrt(3) * grey[..., 0].std(), rel=1e-9)


def test_one_image_is_its_own_mean() -> None:
    (image,) = pictures(count=1)
    np.testing.assert_array_equal(accumulated(image[None]).mean_image, image)
