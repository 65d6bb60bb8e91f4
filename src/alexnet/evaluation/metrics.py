"""Error rates, counted exactly."""

import math

from torch import Tensor

# The 97.5th percentile of N(0, 1): both tails together leave 95 %.
_Z_95 = 1.959963984540054


def credit(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """How far each label is among the k highest scores: 1, 0, or a fraction where scores tie.

    If several classes tie for the last places, each holds its share of them, as in the authors'
    code (layer_kernels.cu, kMultiSoftmaxCost). A row with a NaN earns nothing.

    Args:
        scores: (N, C) logits or probabilities.
        labels: (N,) int64.
        k: 1 for top-1, 5 for top-5.

    Returns:
        (N,) float64 in [0, 1].
    """
    own = scores.gather(1, labels[:, None])  # (N, 1)
    higher = (scores > own).sum(1).double()
    equal = (scores == own).sum(1).double()  # the label's own score included; 0 if it is NaN
    share = ((k - higher) / equal.clamp(min=1.0)).clamp(0.0, 1.0)
    return share * ~scores.isnan().any(1)


def wilson_interval(error: float, images: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of an error rate measured on so many images.

    Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
    """
    z2 = _Z_95**2
    center = (error + z2 / (2 * images)) / (1 + z2 / images)
    spread = (
        _Z_95 / (1 + z2 / images) * math.sqrt(error * (1 - error) / images + z2 / (4 * images**2))
    )
    # At 0 and 1 the interval ends there exactly; rounding must not push it beside.
    low = 0.0 if error == 0.0 else max(0.0, center - spread)
    high = 1.0 if error == 1.0 else min(1.0, center + spread)
    return low, high
