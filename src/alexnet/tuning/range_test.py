"""The rate range test: one short training whose rate rises from too low to too high.

Smith, "Cyclical learning rates for training neural networks" (2017). What is read off is not where
the loss falls fastest: this network leaves the loss of guessing after hundreds of steps at a right
rate, so that a short test sees its loss fall only where the rate is nearly too high. Two marks are
more reliable. The rate at which the loss breaks out is an upper bound. And the size of the updates
relative to the weights, median of the layers, tells at any rate whether training would stand still
or forget itself. Twenty healthy trainings peaked at three to five thousandths, some epochs in; a
sweep sees the beginning, where gradients are smaller, and so has to aim lower.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import torch

from alexnet.data.batches import training_batches
from alexnet.errors import UserError
from alexnet.files import write_atomically
from alexnet.progress import Meter
from alexnet.training.checkpoint import Position
from alexnet.training.vitals import update_ratios
from alexnet.tuning.setup import Bench, train_pass

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_STEPS = 60
_FEWEST_STEPS = 20
_SHARE = 0.04  # of a training's steps that its test may take
# Of the rate from step to step: four decades in 60. Fewer steps see fewer decades, for how far the
# velocity lags behind the rate depends on it, and with it what size of update is healthy.
_GROWTH = 10.0 ** (4.0 / 59.0)
_SMOOTHING = 0.8
_BREAKS_OUT = 1.3  # times the loss of guessing or the smallest so far, smoothed
_HEALTHY_UPDATE = 2.0e-3  # amid what the best rates of four data sets asked for (docs/log.md)
_BELOW_BREAK = 4.0  # the rate of a whole training is at least so far below where a short one breaks


@dataclass(frozen=True)
class RangeTest:
    """What was measured at each step, and what follows.

    Attributes:
        rates: of the steps, rising.
        losses: before each step.
        updates: size of each relative to the weights, median of the layers.
        breaks_at: the rate at which the loss broke out, None if it did not.
        suggested: the rate to train with.
        reason: why, in words.
    """

    rates: list[float]
    losses: list[float]
    updates: list[float]
    breaks_at: float | None
    suggested: float
    reason: str


def sweep_steps(training_steps: int) -> int:
    """How many steps the test of a training of so many takes: a few per cent of them."""
    return min(_MOST_STEPS, max(_FEWEST_STEPS, int(_SHARE * training_steps)))


def range_test(bench: Bench, steps: int) -> RangeTest:
    """Sweep the rate over some decades around the configured one; the state is restored after.

    Args:
        bench: weights, velocity and images; whatever they are now is put back to the bit.
        steps: of the sweep; two decades need 30, four 60.

    Raises:
        UserError: there is no momentum.
    """
    rule = bench.config.optimizer
    if rule.kind != "adamw" and not rule.momentum:
        raise UserError(
            "the range test reads the size of updates off the velocity, which momentum 0 has none "
            "of; use --set optimizer.momentum=0.9"
        )
    before = {name: tensor.detach().clone() for name, tensor in bench.state.tensors().items()}
    position = bench.state.position
    low = bench.config.optimizer.lr / _GROWTH ** ((steps - 1) / 2)
    rates: list[float] = []
    losses, updates = [], []
    try:
        with Meter("range test", steps) as meter:
            batches = training_batches(bench.feed, 0, steps, bench.config.data.workers)
            loss = 0.0
            for batch in batches:
                step = len(rates)
                rate = low * _GROWTH**step
                loss += train_pass(bench, step, batch.to(bench.world.device), rate)
                if not batch.ends_step:
                    continue
                rates.append(rate)
                losses.append(loss)
                updates.append(median(update_ratios(bench.state.optimizer).values()))
                meter.advance(1, f"rate {rate:.1e}, loss {loss:.3f}")
                loss = 0.0
                if _broken(losses, bench.state.network.outline.num_classes):
                    break
            batches.close()
    finally:
        restore(bench, before, position)
    return judge(rates, losses, updates, bench.state.network.outline.num_classes)


def restore(bench: Bench, tensors: dict[str, torch.Tensor], position: Position) -> None:
    """Put weights, velocity and sums back as they were."""
    for group in bench.state.optimizer.param_groups:
        group.pop("lr_of_velocity", None)
    bench.state.optimizer.state.clear()
    bench.state.optimizer.zero_grad(set_to_none=True)
    bench.state.restore(position, tensors)


def judge(rates: list[float], losses: list[float], updates: list[float], classes: int) -> RangeTest:
    """What rate a sweep speaks for; a pure function of the measurements."""
    broken = _broken(losses, classes)
    breaks_at = rates[-1] if broken else None
    healthy = _rate_of_healthy_update(rates, updates)
    if healthy is None:
        wanted = math.sqrt(rates[0] * rates[-1])
        reason = "the middle of the rates tried; no update was near the size of a healthy one"
    else:
        wanted = healthy
        reason = (
            f"updates change weights by {_HEALTHY_UPDATE:.2%} there, as healthy trainings begin"
        )
    if breaks_at is not None and wanted > breaks_at / _BELOW_BREAK:
        wanted = breaks_at / _BELOW_BREAK
        reason = f"a quarter of {breaks_at:.2g}, where the loss breaks out"
    if not rates[0] <= wanted <= rates[-1]:
        reason += "; outside the rates tried, so test again around it"
    return RangeTest(rates, losses, updates, breaks_at, float(f"{wanted:.2g}"), reason)


def smoothed(losses: list[float]) -> list[float]:
    """Exponential moving average without the bias of its beginning."""
    average, out = 0.0, []
    for step, loss in enumerate(losses, start=1):
        average = _SMOOTHING * average + (1.0 - _SMOOTHING) * loss
        out.append(average / (1.0 - _SMOOTHING**step))
    return out


def _broken(losses: list[float], classes: int) -> bool:
    if not math.isfinite(losses[-1]):
        return True
    smooth = smoothed(losses)
    return smooth[-1] > _BREAKS_OUT * max(min(smooth), math.log(classes))


def _rate_of_healthy_update(rates: list[float], updates: list[float]) -> float | None:
    """Where the update's size, fitted as proportional to the rate, is the healthy one.

    Steps whose update is between a hundredth of the healthy one and ten times it count; before, the
    velocity has not filled, and after, the weights are not those of a training any more. None where
    none counts.
    """
    pairs = [
        (math.log(update / rate))
        for rate, update in zip(rates, updates, strict=True)
        if _HEALTHY_UPDATE / 100 < update < _HEALTHY_UPDATE * 10
    ]
    return _HEALTHY_UPDATE / math.exp(median(pairs)) if pairs else None


def figure(test: RangeTest) -> "Figure":
    """Loss and size of updates over the rate, with the rate that is suggested."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = drawn.subplots()
    axes.semilogx(test.rates, test.losses, color="#0072b2", alpha=0.35, linewidth=1)
    axes.semilogx(test.rates, smoothed(test.losses), color="#0072b2", label="loss, smoothed")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    shown = test.losses[: max(2, len(test.losses) - 3)]
    top = max((value for value in shown if math.isfinite(value)), default=1.0)
    axes.set_ylim(0.0, 1.2 * top)
    updates = axes.twinx()
    updates.loglog(test.rates, test.updates, color="#d55e00", linestyle="--", label="update")
    updates.set_ylabel("update relative to weights")
    axes.axvline(test.suggested, color="#1b1f24", linewidth=1)
    axes.annotate(
        f" {test.suggested:g}", (test.suggested, 1.0), xycoords=("data", "axes fraction"), va="top"
    )
    lines = [*axes.get_lines()[1:2], *updates.get_lines()[:1]]
    axes.legend(lines, ["loss, smoothed", "update relative to weights"], loc="lower left")
    return drawn


def save_plot(test: RangeTest, path: Path) -> None:
    """Write the figure as PNG; CannotWriteError as for `files.write_atomically`."""
    drawn = figure(test)
    write_atomically(path, lambda temporary: drawn.savefig(temporary, format="png", dpi=110))
