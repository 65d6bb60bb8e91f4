"""Figure 1: a four-layer net reaches 25 % training error sooner with ReLUs than with tanh.

The paper names neither net nor rates. Of the authors' files only those of 18 and 19 % have four
layers with weights; Figure 1 is without regularisation, so it is the net of 19 % without weight
decay, on whole images. Each kind of unit gets the rate that is fastest for it: seed 0 looks for it,
in steps of two, and is not used again.
"""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from alexnet.claims.claim import Claim, Finding, Measured, Run, Setting, Values, seeded
from alexnet.claims.intervals import mean_of, ratio_of, verdict_on
from alexnet.claims.measures import epochs_until
from alexnet.config import (
    AugmentConfig,
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)
from alexnet.training.metrics import read_metrics

_BATCH = 128
_BASE_RATE = 0.001  # of the authors' CIFAR-10 files
# Where the search for each unit's rate begins, in powers of two.
_FIRST_GUESS = {"relu": 1, "tanh": 1, "sigmoid": 3}
_UNITS = tuple(_FIRST_GUESS)
_SEARCH_SEED = 0
_SLACK = 1.05  # a rate is given up once it has taken so much longer than the best


def plan(setting: Setting, measured: Measured) -> Sequence[Run]:
    """The search of each unit's rate, then its seeds with that rate; sigmoid, the slowest, last."""
    runs: list[Run] = []
    for units in _UNITS:
        tried = _tried(measured, units)
        power = _next_power(tried, _FIRST_GUESS[units])
        if power is not None:
            best = min(tried.values(), default=math.inf)
            runs.append(_run(setting, units, power, _SEARCH_SEED, best * _SLACK))
        elif math.isfinite(min(tried.values())):
            best_power = _best(tried, _FIRST_GUESS[units])
            seeds = range(1, setting.scale.seeds + 1)
            runs += seeded([_run(setting, units, best_power, 1, math.inf)], seeds)
    return runs


def find(setting: Setting, measured: Measured) -> Finding:
    """Epochs to the goal for each kind of unit, and tanh's over ReLU's."""
    epochs, quantities = {}, []
    goal = f"{setting.scale.cifar.goal:.1%} training error".replace(".0%", " %")
    for units in _UNITS:
        tried = _tried(measured, units)
        best = _best(tried, _FIRST_GUESS[units])
        arm = _arm(units, best)
        epochs[units] = [
            value
            for seed, value in _by_seed(measured, arm)
            if seed != _SEARCH_SEED and value is not None
        ]
        name = f"epochs to {goal}, {units} at rate {_BASE_RATE * 2.0**best:g}"
        quantities.append(mean_of(name, "epochs", epochs[units]))
    ratios = [
        ratio_of(f"epochs of {units} over those of ReLU", epochs[units], epochs["relu"], paper)
        for units, paper in (("tanh", 6.0), ("sigmoid", None))
    ]
    return Finding(
        [*quantities, *ratios],
        verdict_on(ratios[0], "ReLU needs fewer epochs than tanh", neutral=1.0),
        [_searched(measured, units) for units in _UNITS if _tried(measured, units)],
    )


def _run(setting: Setting, units: str, power: int, seed: int, give_up: float) -> Run:
    scale = setting.scale.cifar
    rate = _BASE_RATE * 2.0**power
    config = Config(
        recipe="figure-1",
        model=ModelConfig(variant="cifar-19", activation=units, width=scale.width),  # type: ignore[arg-type]
        data=DataConfig(source=setting.data, size=32),
        augment=AugmentConfig(crop="center", mirror=False, color="none"),
        optimizer=OptimizerConfig(lr=rate, weight_decay=0.0),
        train=TrainConfig(
            epochs=scale.most_epochs,
            steps=scale.steps,
            batch_size=_BATCH,
            seed=seed,
            precision="fp32",
            log_every_steps=_LOG_EVERY if scale.steps is None else 1,
            evaluate_every_epochs=scale.most_epochs,
            alarm=False,
        ),
    )
    return Run(
        _arm(units, power),
        seed,
        config,
        partial(_measure, error=scale.goal),
        partial(_enough, error=scale.goal, epochs=give_up),
    )


_LOG_EVERY = 98  # steps: a quarter of an epoch of 50,000 images


def _measure(run: Path, error: float) -> Values:
    rows = read_metrics(run / "metrics.jsonl")
    trainings = [row for row in rows if row["split"] == "train"]
    return {
        "epochs_to_goal": epochs_until(rows, error),
        "epochs": trainings[-1]["epoch"],
        "train_curve": [[row["epoch"], row["top1_error"]] for row in trainings],
        "images_per_second": trainings[-1]["images_per_second"],
    }


def _enough(run: Path, error: float, epochs: float) -> bool:
    """Whether the goal is reached, or can no longer be reached in time, or the loss is lost."""
    trainings = [row for row in read_metrics(run / "metrics.jsonl") if row["split"] == "train"]
    if not trainings:
        return False
    lost = trainings[-1]["loss"] is None
    return lost or trainings[-1]["epoch"] > epochs or epochs_until(trainings, error) is not None


def _arm(units: str, power: int) -> str:
    return f"figure-1-{units}-{_BASE_RATE * 2.0**power:g}"


def _by_seed(measured: Measured, arm: str) -> list[tuple[int, float | None]]:
    return sorted(
        (seed, values["epochs_to_goal"])
        for (other, seed), values in measured.items()
        if other == arm
    )


def _tried(measured: Measured, units: str) -> dict[int, float]:
    """Power of two to epochs, for every rate that the search has tried; inf: goal not reached."""
    tried = {}
    for power in range(-12, 13):
        values = measured.get((_arm(units, power), _SEARCH_SEED))
        if values is not None:
            tried[power] = values["epochs_to_goal"] or math.inf
    return tried


def _next_power(tried: dict[int, float], first: int) -> int | None:
    """The next rate to try: up first, then down, until the best has a worse one on both sides.

    Where no rate reaches the goal, the search ends three steps either way from where it began.
    """
    if not tried:
        return first
    if not math.isfinite(min(tried.values())):
        wanted = [first + step for step in (1, -1, 2, -2, 3)]
        return next((power for power in wanted if power not in tried), None)
    best = _best(tried, first)
    return next((power for power in (best + 1, best - 1) if power not in tried), None)


def _best(tried: dict[int, float], first: int) -> int:
    """The fastest rate; of equals the one nearest to where the search began."""
    return min(tried, key=lambda power: (tried[power], abs(power - first)), default=first)


def _searched(measured: Measured, units: str) -> str:
    found = [
        f"{_BASE_RATE * 2.0**power:g}: {'given up' if math.isinf(epochs) else f'{epochs:.1f}'}"
        for power, epochs in sorted(_tried(measured, units).items())
    ]
    return f"search of the rate for {units}, epochs to the goal: {', '.join(found)}"


CLAIM = Claim(
    name="relu",
    section="3.1, Figure 1",
    paper="ReLUs reach 25 % training error on CIFAR-10 six times faster than tanh units",
    logs="nothing; the net and its rates are not named",
    data="cifar10",
    plan=plan,
    find=find,
)
