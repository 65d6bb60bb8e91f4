"""What the network subtracts: the centre of the mean image, whatever the crop's offset."""

import numpy as np
import pytest

from alexnet.data.augment import IMAGENET_COMPONENTS
from alexnet.data.pixels import images_in_memory
from alexnet.data.sources import Source, Split
from alexnet.data.statistics import Statistics
from alexnet.training.data import Data


def data(side: int = 12) -> Data:
    """A mean image with another value at every place."""
    mean_image = np.arange(side * side * 3, dtype=np.float64).reshape(side, side, 3)
    pixels = np.zeros((1, side, side, 3), np.uint8)
    images = images_in_memory(pixels, np.zeros(1, np.int64), ["image"])
    split = Split(["image"], np.zeros(1, np.int64), lambda index: b"")
    source = Source("pictures", "folder", ("class",), split, split)
    return Data(
        source, images, images, Statistics(mean_image, IMAGENET_COMPONENTS), validation_fraction=0.2
    )


@pytest.mark.parametrize(("side", "border"), [(8, 2), (12, 0), (7, 2)])
def test_mean_is_the_centre_of_the_mean_image_of_each_pixel(side: int, border: int) -> None:
    """Not aligned with the crop, as in Caffe, and not one value a channel."""
    found = data().mean("image", side)
    image = data().statistics.mean_image
    assert found.shape == (3, side, side)
    for channel in range(3):
        window = image[border : border + side, border : border + side, channel]
        np.testing.assert_array_equal(found[channel], window)


def test_mean_of_the_channels_is_an_option() -> None:
    found = data().mean("channel", 8)
    means = data().statistics.mean_image.mean((0, 1))
    np.testing.assert_allclose(found, np.broadcast_to(means[:, None, None], (3, 8, 8)))
