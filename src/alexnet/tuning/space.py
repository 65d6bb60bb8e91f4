"""The search space: what matters when AlexNet is trained, and between which bounds. Free of torch.

A point of the space is a dictionary from `section.key` to a value of the configuration.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alexnet.config import Config, change, setting
from alexnet.draws import Purpose, uniforms
from alexnet.model.catalog import resolve
from alexnet.model.variants import Variant


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


def space_around(config: Config, fixed: Collection[str] = ()) -> Space:
    """What to search around a configuration: rates a decade down and up, the rest by custom.

    Momentum is a list, because 0.9 and 0.95 differ as much as 0.8 and 0.9 do. What cannot matter
    for the data or the network is left out: the strength of colour noise where there is none, crops
    of pictures that are cropped in the middle for a reason, dropout of a network without it.

    Args:
        config: what is searched around; it lies in the space itself.
        fixed: keys that the user has set, and that stay. The rate is searched around what it is
            set to.
    """
    lr, variant = config.optimizer.lr, resolve(config.model)
    dimensions: list[Dimension] = [
        Range("optimizer.lr", lr / 10, lr * 10, log=True),
        Range("optimizer.weight_decay", 5e-5, 5e-3, log=True),
        Among("optimizer.momentum", (0.8, 0.9, 0.95)),
    ]
    if isinstance(variant, Variant) and variant.dropout:
        dimensions.append(Range("model.dropout", 0.2, 0.7))
    dimensions += [
        Among("schedule.kind", ("polynomial", "cosine")),
        Range("schedule.warmup_epochs", 0.0, max(1.0, 2 * config.schedule.warmup_epochs)),
    ]
    if config.train.init is None and isinstance(variant, Variant) and variant.weight_std:
        scale = config.model.initial_scale
        dimensions.append(Range("model.initial_scale", scale / 2, scale * 2, log=True))
    if config.augment.color != "none":
        dimensions.append(Range("augment.color_strength", 0.0, 0.3))
    if config.augment.crop == "random":
        dimensions.append(Among("augment.crop", ("random", "center")))
    if config.optimizer.kind == "lars":
        dimensions.append(Range("optimizer.lars_eta", 1e-4, 1e-1, log=True))
    free = (d for d in dimensions if d.key == "optimizer.lr" or d.key not in fixed)
    return tuple(_with(dimension, _value(config, dimension.key)) for dimension in free)


def _with(dimension: Dimension, value: Any) -> Dimension:
    """The dimension, widened where the value lies outside."""
    if isinstance(dimension, Range):
        return replace(dimension, low=min(dimension.low, value), high=max(dimension.high, value))
    if value in dimension.values:
        return dimension
    return replace(dimension, values=tuple(sorted((value, *dimension.values))))


def _value(config: Config, key: str) -> Any:
    """What a key is set to; where the configuration leaves it to the network, what that has."""
    value, variant = setting(config, key), resolve(config.model)
    if key == "model.dropout" and value is None and isinstance(variant, Variant):
        return variant.dropout
    return value


def random_point(space: Space, seed: int, number: int) -> dict[str, Any]:
    """The point of a trial: a pure function of the study's seed and the trial's number."""
    shares = uniforms(seed, Purpose.SEARCH, number, np.arange(len(space)), 1)[:, 0]
    return {d.key: d.at(float(share)) for d, share in zip(space, shares, strict=True)}


def point_of(space: Space, config: Config) -> dict[str, Any]:
    """Where a configuration is in the space; the first trial is the configuration itself."""
    return {dimension.key: _value(config, dimension.key) for dimension in space}


def configured(config: Config, point: dict[str, Any]) -> Config:
    """The configuration at a point of the space."""
    for key, value in point.items():
        config = change(config, key, value)
    return config


def assignments(point: dict[str, Any]) -> Sequence[str]:
    """A point as `section.key=value`, for a command line."""
    return [f"{key}={value}" for key, value in point.items()]
