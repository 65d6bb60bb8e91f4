"""Figure 3 in numbers: how much each kernel of the first layer is about colour."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]


def color_selectivity(kernels: npt.NDArray[np.floating[Any]]) -> Floats:
    """The share of each kernel's energy that a grey picture cannot reach.

    A grey picture has the same value in all colours, so it answers only to the sum of a kernel's
    weights over the colours. 0: the kernel is the same in all colours and ignores colour; 1: its
    colours cancel everywhere and it ignores everything but colour. Independent random weights have
    2/3 on average, which is what a kernel shows that has learned nothing.

    Args:
        kernels: (K, 3, h, w) weights over R, G, B.

    Returns:
        (K,) in [0, 1]; NaN for a kernel of zeros.
    """
    weights = np.asarray(kernels, dtype=np.float64)
    grey = weights.sum(axis=1) ** 2 / weights.shape[1]  # (K, h, w), energy along (1, 1, 1)
    total = (weights**2).sum(axis=(1, 2, 3))
    with np.errstate(invalid="ignore"):
        selectivity: Floats = 1.0 - grey.sum(axis=(1, 2)) / total
    return np.clip(selectivity, 0.0, 1.0)


@dataclass(frozen=True)
class ColumnColors:
    """Whether the two columns of the first layer differ in colour.

    Attributes:
        selectivity: (2, K / 2), of the kernels of column a and of column b, NaN for one of zeros.
        colorful_column: the index of the column with the higher ranks.
        superiority: the probability that a kernel of that column is more colourful than one of the
            other: 0.5 where the columns are alike, 1 where they are apart.
        p_value: of the two-sided exact rank test (Mann and Whitney 1947) that they are alike.
    """

    selectivity: Floats
    colorful_column: int
    superiority: float
    p_value: float


def compare_columns(kernels: npt.NDArray[np.floating[Any]]) -> ColumnColors:
    """The kernels of a two-column network, (K, 3, h, w) as [column a | column b].

    Raises:
        ValueError: an odd number of kernels.
    """
    if len(kernels) % 2:
        raise ValueError(f"{len(kernels)} kernels do not split into two columns")
    halves = np.stack(np.split(color_selectivity(kernels), 2))
    a, b = (half[np.isfinite(half)] for half in halves)
    if not len(a) or not len(b):  # a column that is all zeros, or no numbers, tells nothing
        return ColumnColors(halves, 0, 0.5, 1.0)
    test = stats.mannwhitneyu(a, b, alternative="two-sided", method="exact")
    of_a = float(test.statistic) / (len(a) * len(b))  # a kernel of a is the more colourful
    colorful = int(of_a < 0.5)
    return ColumnColors(halves, colorful, max(of_a, 1.0 - of_a), float(test.pvalue))


def learned(kernels: npt.NDArray[np.floating[Any]], initial_std: float) -> npt.NDArray[np.bool_]:
    """Which kernels (K, 3, h, w) have left their beginnings: twice the size that chance gave."""
    size = np.sqrt((np.asarray(kernels, dtype=np.float64) ** 2).mean(axis=(1, 2, 3)))
    grown: npt.NDArray[np.bool_] = size > 2.0 * initial_std
    return grown
