"""Mean image and colour components of a training set; `sums.py` computes them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """Principal components of the colours of the training pixels, in 0..255 units.

    Attributes:
        vectors: (3, 3), each column a unit vector over R, G, B.
        deviations: (3,), the standard deviation along each, the root of its eigenvalue.
    """

    vectors: Floats
    deviations: Floats


@dataclass(frozen=True)
class Statistics:
    """What section 2 and section 4.1 take from the training set.

    Attributes:
        mean_image: (S, S, 3), the mean of each pixel, 0..255.
        components: principal components of the RGB values of all pixels.
    """

    mean_image: Floats
    components: Components
