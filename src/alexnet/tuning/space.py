"""The search space: what matters when AlexNet is trained, and between which bounds. Free of torch.

A point of the space is a dictionary from `section.key` to a value of the configuration.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alexnet.config import Config, change
from alexnet.draws import Purpose, uniforms


@dataclass(frozen=True)
class Range:
    """Values between two bounds, evenly distributed, or evenly in their logarithm."""

    key: str
    low: float
    high: float
    log: bool = False

    def at(self, share: float) -> float:
        """The value so far along the range, 0 <= share <= 1, to four digits."""
        if self.log:
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + (self.high - self.low) * share
        return min(self.high, max(self.low, float(f"{value:.4g}")))

    def position(self, value: float) -> float:
        """The inverse of `at`."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Among:
    """One of a few values."""

    key: str
    values: tuple[Any, ...]

    def at(self, share: float) -> Any:
        """The value so far along the list, 0 <= share <= 1."""
        return self.values[min(len(self.values) - 1, int(share * len(self.values)))]

    def position(self, value: Any) -> float:
        """The middle of the value's part of [0, 1]."""
        return (self.values.index(value) + 0.5) / len(self.values)


Dimension = Range | Among
Space = tuple[Dimension, ...]


def space_around(config: Config) -> Space:
    """What to search around a configuration: rates a decade down and up, the rest by custom.

    Momentum is a list, because 0.9 and 0.95 differ as much as 0.8 and 0.9 do. What cannot matter
    for the data is left out: the strength of colour noise where there is none, crops of pictures
    that are cropped in the middle for a reason.
    """
    lr = config.optimizer.lr
    dimensions: list[Dimension] = [
        Range("optimizer.lr", lr / 10, lr * 10, log=True),
        Range("optimizer.weight_decay", 5e-5, 5e-3, log=True),
        Among("optimizer.momentum", (0.8, 0.9, 0.95)),
        Range("model.dropout", 0.2, 0.7),
        Among("schedule.kind", ("polynomial", "cosine")),
        Range("schedule.warmup_epochs", 0.0, max(1.0, 2 * config.schedule.warmup_epochs)),
    ]
    if config.train.init is None and _has_initial_scale(config):
        scale = config.model.initial_scale
        dimensions.append(Range("model.initial_scale", scale / 2, scale * 2, log=True))
    if config.augment.color != "none":
        dimensions.append(Range("augment.color_strength", 0.0, 0.3))
    if config.augment.crop == "random":
        dimensions.append(Among("augment.crop", ("random", "center")))
    if hasattr(config.optimizer, "trust_coefficient") and str(config.optimizer.kind) == "lars":
        dimensions.append(Range("optimizer.trust_coefficient", 1e-4, 1e-1, log=True))
    return tuple(dimensions)


def _has_initial_scale(config: Config) -> bool:
    return config.model.variant != "one-tower"


def random_point(space: Space, seed: int, number: int) -> dict[str, Any]:
    """The point of a trial: a pure function of the study's seed and the trial's number."""
    shares = uniforms(seed, Purpose.SEARCH, number, np.arange(len(space)), 1)[:, 0]
    return {d.key: d.at(float(share)) for d, share in zip(space, shares, strict=True)}


def point_of(space: Space, config: Config) -> dict[str, Any]:
    """Where a configuration is in the space; the first trial is the configuration itself."""
    values = {}
    for dimension in space:
        section, _, key = dimension.key.partition(".")
        value = getattr(getattr(config, section), key)
        if value is None and dimension.key == "model.dropout":
            value = 0.5
        if isinstance(dimension, Range):
            value = min(dimension.high, max(dimension.low, value))
        values[dimension.key] = value
    return values


def configured(config: Config, point: dict[str, Any]) -> Config:
    """The configuration at a point of the space."""
    for key, value in point.items():
        config = change(config, key, value)
    return config


def assignments(point: dict[str, Any]) -> Sequence[str]:
    """A point as `section.key=value`, for a command line."""
    return [f"{key}={value}" for key, value in point.items()]
