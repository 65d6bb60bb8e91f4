"""Section 4.1's three augmentations as pure functions of (pixels, draws)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alexnet.config import AugmentConfig
from alexnet.data.statistics import Components
from alexnet.draws import Purpose, normals, words

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
View = tuple[int, int, bool]
"""Top and left of a crop in pixels, and whether it is reflected left to right."""


# The authors' ImageNet constants (cuda-convnet2, make-data/input_meta).
IMAGENET_COMPONENTS = Components(
    vectors=np.array(
        [
            [0.4179551316634632, -0.7125794528735844, -0.5635104535486105],
            [-0.8169806183780459, -0.02354167129954881, -0.5761843966188692],
            [0.3973111842256688, 0.7011963441539094, -0.5920029643797313],
        ]
    ),
    deviations=np.array([19.720833049149668, 37.09388853298572, 121.78006099293066]),
)


@dataclass(frozen=True)
class Draws:
    """What chance decided for a batch of N training images."""

    offsets: Integers  # (N, 2): top and left of the crop
    mirrored: npt.NDArray[np.bool_]  # (N,)
    colors: Floats  # (N, 3): a standard normal for each principal component


def draw(config: AugmentConfig, seed: int, epoch: int, samples: Integers, border: int) -> Draws:
    """The draws of some samples in an epoch, a pure function of all arguments.

    Args:
        config: which augmentations are on.
        seed: the run's seed.
        epoch: counted from 0.
        samples: (N,) indices in the training set.
        border: pixels by which the image is larger than the crop: offsets are 0..border, 33
            positions for 256 and 224 (the paper's count of 2048 takes 32).
    """
    count = len(samples)
    offsets = np.full((count, 2), border // 2, dtype=np.int64)
    if config.crop == "random":
        # 2012 (D4): one offset and one reflection for 32 images that follow each other.
        offsets = (words(seed, Purpose.CROP, epoch, samples, 2) * (border + 1)) >> 32
    mirrored = np.zeros(count, dtype=np.bool_)
    if config.mirror:
        mirrored = (words(seed, Purpose.MIRROR, epoch, samples, 1)[:, 0] & 1).astype(np.bool_)
    colors = np.zeros((count, 3))
    if has_color_noise(config, epoch):
        colors = normals(seed, Purpose.COLOR, epoch, samples, 3)
    return Draws(offsets, mirrored, colors)


def has_color_noise(config: AugmentConfig, epoch: int) -> bool:
    """Whether colour noise is on in an epoch, counted from 0."""
    ended = config.color_epochs is not None and epoch >= config.color_epochs
    return config.color != "none" and not ended


def color_shifts(
    convention: str, strength: float, colors: Floats, components: Components
) -> Floats:
    """What colour noise adds to every pixel of each image, (N, 3) over R, G, B in 0..255 units.

    "original": sum of p_i * strength * z_i * deviation_i, the authors' code.
    "paper": the equation of section 4.1 with the eigenvalues of pixels in [0, 1], the reading of
    most ports (the eigenvalues of 0..255 pixels would shift an image by over 1000 grey levels).
    """
    scale = components.deviations
    if convention == "paper":
        # 2012 (D5): the paper has eigenvalues, the authors' code their roots, of 0..255 pixels.
        scale = (components.deviations / 255.0) ** 2 * 255.0
    shifts: Floats = (strength * colors * scale) @ components.vectors.T
    return shifts


def color_divisor(config: AugmentConfig, epoch: int) -> float:
    """What the authors' code divides a training image by, after the mean is subtracted."""
    if config.color == "original" and has_color_noise(config, epoch):
        return 1.0 + config.color_strength
    return 1.0


def ten_views(size: int, crop_size: int) -> list[View]:
    """(top, left, mirrored) of section 4.1's ten patches: corners and centre, and their mirrors.

    In the authors' order (convdata_jpeg.py, __trim_borders).
    """
    last = size - crop_size
    middle = last // 2
    corners = [(0, 0), (0, last), (middle, middle), (last, 0), (last, last)]
    return [(top, left, mirrored) for mirrored in (False, True) for top, left in corners]


def nine_views(size: int, crop_size: int) -> list[View]:
    """A 3x3 grid of crops, none mirrored: the authors' test on CIFAR-10 (convdata_cifar.py)."""
    last = size - crop_size
    places = (0, last // 2, last)
    return [(top, left, False) for top in places for left in places]


def center_view(size: int, crop_size: int) -> list[View]:
    """The single central view, in the form of `ten_views`."""
    middle = (size - crop_size) // 2
    return [(middle, middle, False)]
