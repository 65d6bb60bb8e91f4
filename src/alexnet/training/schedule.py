"""Learning rates as pure functions of where the run is and what the validation errors were."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from alexnet.config import OptimizerConfig, ScheduleConfig


@dataclass(frozen=True)
class Moment:
    """Where a run is: all that a rate may depend on."""

    step: int  # steps done
    total_steps: int
    steps_per_epoch: int
    validation_errors: Sequence[float] = ()  # so far, oldest first

    @property
    def epoch(self) -> int:
        """The epoch of the next step, counted from 1 as in the authors' run notes."""
        return self.step // self.steps_per_epoch + 1


@dataclass(frozen=True)
class Rates:
    """The learning rates of one step."""

    weights: float
    biases: float
    layer_factors: dict[str, float]

    def of(self, layer: str, is_bias: bool) -> float:
        """The rate of one layer's weights or biases."""
        return (self.biases if is_bias else self.weights) * self.layer_factors.get(layer, 1.0)


def rates(optimizer: OptimizerConfig, schedule: ScheduleConfig, moment: Moment) -> Rates:
    """The rates of the next step: the optimiser's, times the schedule's factor."""
    factor = rate_factor(schedule, moment)
    # A layer's last rule that has begun counts.
    layer_factors = {
        layer: layer_factor
        for layer, first_epoch, layer_factor in sorted(optimizer.layer_rates, key=lambda r: r[1])
        if moment.epoch >= first_epoch
    }
    return Rates(
        weights=optimizer.lr * factor,
        biases=optimizer.lr * optimizer.bias_lr_factor * max(factor, optimizer.bias_lr_floor),
        layer_factors=layer_factors,
    )


def rate_factor(schedule: ScheduleConfig, moment: Moment) -> float:
    """What the schedule multiplies the starting rate by for the next step."""
    warmup = warmup_steps(schedule, moment)
    if moment.step < warmup:
        return (moment.step + 1) / (math.floor(warmup) + 1)
    # Share of the way from the end of the warm-up to the end of the run, in [0, 1).
    progress = (moment.step - warmup) / max(1.0, moment.total_steps - warmup)
    if schedule.kind == "plateau":
        return float(schedule.factor ** min(plateaus(schedule, moment), schedule.drops))
    if schedule.kind == "steps":
        begun = sum(moment.epoch >= milestone for milestone in schedule.milestones)
        return float(schedule.factor**begun)
    if schedule.kind == "polynomial":
        falling = float((1.0 - progress) ** schedule.power)
    elif schedule.kind == "cosine":
        falling = 0.5 * (1.0 + math.cos(math.pi * progress))
    else:
        return 1.0
    return schedule.final_factor + (1.0 - schedule.final_factor) * falling


def warmup_steps(schedule: ScheduleConfig, moment: Moment) -> float:
    """Steps of the warm-up; a run that was made shorter than it must still reach its rate."""
    return min(schedule.warmup_epochs * moment.steps_per_epoch, moment.total_steps / 4)


def plateaus(schedule: ScheduleConfig, moment: Moment) -> int:
    """How often the validation error has stopped improving (section 5).

    It stops when `patience` evaluations in a row are no better than the best before them; the
    count then starts anew.
    """
    # 2012 (D7): the authors looked at the curve; the paper gives no number.
    count, best, waited = 0, math.inf, 0
    for error in moment.validation_errors:
        if error < best:
            best, waited = error, 0
            continue
        waited += 1
        if waited == schedule.patience:
            count, waited = count + 1, 0
    return count


def is_finished(schedule: ScheduleConfig, moment: Moment) -> bool:
    """Whether the run ends here: its steps are done, or the last plateau is reached."""
    ended = schedule.kind == "plateau" and plateaus(schedule, moment) > schedule.drops
    return ended or moment.step >= moment.total_steps
