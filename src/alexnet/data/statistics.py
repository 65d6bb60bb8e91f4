"""Mean image and colour components of a training set, accumulated image by image in float64."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alexnet.data.augment import Components

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """What section 2 and section 4.1 take from the training set.

    Attributes:
        mean_image: (S, S, 3), the mean of each pixel, 0..255.
        components: principal components of the RGB values of all pixels.
    """

    mean_image: Floats
    components: Components


class Accumulator:
    """Sums over images; exact for any order, because sums of bytes are integers in float64."""

    def __init__(self, size: int) -> None:
        self._count = 0
        self._sum = np.zeros((size, size, 3))
        self._products = np.zeros((3, 3))

    def add(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Count one (S, S, 3) image in."""
        values = pixels.reshape(-1, 3).astype(np.float64)
        self._count += 1
        self._sum += pixels
        self._products += values.T @ values

    def result(self) -> Statistics:
        """The statistics of all images so far; at least one."""
        pixels = self._count * self._sum.shape[0] * self._sum.shape[1]
        mean_color = self._sum.sum(axis=(0, 1)) / pixels
        covariance = self._products / pixels - np.outer(mean_color, mean_color)
        eigenvalues, vectors = np.linalg.eigh(covariance)
        return Statistics(
            mean_image=self._sum / self._count,
            components=Components(vectors, np.sqrt(np.maximum(eigenvalues, 0.0))),
        )
