"""Means, differences and ratios over seeds, with 95 % intervals from Student's t. Free of torch.

A claim has two or three seeds of each arm. Two numbers say next to nothing about their deviation,
so where the arms of a claim are alike, it is estimated once, from all of them: see `Noise`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from alexnet.claims.claim import Quantity

_CONFIDENCE = 0.95
_GREATEST = {"%": 100.0, "of 1": 1.0}  # what a share cannot exceed


@dataclass(frozen=True)
class Noise:
    """How much one seed differs from another, in every arm of a claim.

    Attributes:
        deviation: standard, in the unit of the values.
        freedom: degrees of freedom of its estimate.
    """

    deviation: float
    freedom: int


def noise_of(arms: Iterable[Sequence[float]]) -> Noise | None:
    """The noise within arms, whatever the differences between them (one-way analysis of variance).

    Args:
        arms: the values of each, one a seed.

    Returns:
        None where no arm has two different values.
    """
    repeated = [np.asarray(values, dtype=np.float64) for values in arms if len(values) > 1]
    freedom = sum(len(values) - 1 for values in repeated)
    # A mean of equal values is rounded: their squares are not quite nothing.
    different = [values for values in repeated if len(np.unique(values)) > 1]
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in different)
    return Noise(math.sqrt(squares / freedom), freedom) if squares else None


def mean_of(
    name: str,
    unit: str,
    values: Sequence[float],
    paper: float | None = None,
    logs: float | None = None,
    noise: Noise | None = None,
) -> Quantity:
    """The mean over seeds with Student's interval, by default from their own deviation.

    The interval of a share ends where shares do.
    """
    low, high = _around(values, noise or noise_of([values]))
    if low is not None and high is not None and unit in _GREATEST:
        low, high = max(low, 0.0), min(high, _GREATEST[unit])
    return Quantity(
        name,
        unit,
        float(np.mean(values)) if len(values) else None,
        low,
        high,
        _spread(values),
        len(values),
        tuple(values),
        paper,
        logs,
    )


def difference_of(
    name: str,
    unit: str,
    a: Sequence[float],
    b: Sequence[float],
    paper: float | None = None,
    logs: float | None = None,
    noise: Noise | None = None,
) -> Quantity:
    """Mean of `a` minus mean of `b`, by default with Welch's interval (unequal variances)."""
    if not len(a) or not len(b):
        return Quantity(name, unit, None, paper=paper, logs=logs)
    difference = float(np.mean(a) - np.mean(b))
    low, high = _welch(a, b) if noise is None else _apart(a, b, noise)
    return Quantity(name, unit, difference, low, high, None, min(len(a), len(b)), (), paper, logs)


def ratio_of(
    name: str,
    a: Sequence[float],
    b: Sequence[float],
    paper: float | None = None,
    logs: float | None = None,
) -> Quantity:
    """Geometric mean of `a` over that of `b`; Welch's interval on the logarithms.

    All values must be positive. A ratio's own distribution is skewed, its logarithm's is not.
    """
    logarithms = difference_of(name, "ratio", [math.log(x) for x in a], [math.log(x) for x in b])
    mean, low, high = (
        None if value is None else math.exp(value)
        for value in (logarithms.mean, logarithms.low, logarithms.high)
    )
    return Quantity(name, "ratio", mean, low, high, None, logarithms.seeds, (), paper, logs)


def verdict_on(difference: Quantity, expected: str, neutral: float = 0.0) -> str:
    """Whether a difference (or ratio) lies on the side of `neutral` that the paper says: above.

    Confirmed in direction or contradicted where the interval lies on one side, not resolved where
    it includes `neutral`.
    """
    if difference.mean is None:
        return f"{expected}: not measured yet"
    if difference.low is None or difference.high is None:
        sides = ("against the paper", "no difference", "in the paper's direction")
        side = sides[1 + (difference.mean > neutral) - (difference.mean < neutral)]
        return f"{expected}: {side} in the runs so far, without an interval"
    if difference.low > neutral:
        return f"{expected}: confirmed in direction"
    if difference.high < neutral:
        return f"{expected}: contradicted"
    return f"{expected}: not resolved at this scale"


def _spread(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _around(values: Sequence[float], noise: Noise | None) -> tuple[float | None, float | None]:
    if not len(values) or noise is None:
        return None, None
    reach = _quantile(noise.freedom) * noise.deviation / math.sqrt(len(values))
    return float(np.mean(values) - reach), float(np.mean(values) + reach)


def _apart(a: Sequence[float], b: Sequence[float], noise: Noise) -> tuple[float, float]:
    difference = float(np.mean(a) - np.mean(b))
    reach = _quantile(noise.freedom) * noise.deviation * math.sqrt(1 / len(a) + 1 / len(b))
    return difference - reach, difference + reach


def _welch(a: Sequence[float], b: Sequence[float]) -> tuple[float | None, float | None]:
    if len(a) < 2 or len(b) < 2:
        return None, None
    parts = [np.var(values, ddof=1) / len(values) for values in (a, b)]
    variance = float(sum(parts))
    difference = float(np.mean(a) - np.mean(b))
    # Chance made them equal; nothing is known that exactly. A mean of equal values is rounded.
    if variance == 0.0 or len(set(a)) == len(set(b)) == 1:
        return None, None
    # Welch and Satterthwaite's degrees of freedom.
    shares = sum(part**2 / (len(v) - 1) for part, v in zip(parts, (a, b), strict=True))
    reach = _quantile(float(variance**2 / shares)) * math.sqrt(variance)
    return difference - reach, difference + reach


def _quantile(freedom: float) -> float:
    return float(stats.t.ppf(0.5 + _CONFIDENCE / 2, freedom))
