"""Figure 1: a four-layer net reaches 25 % training error sooner with ReLUs than with tanh.

The paper names neither net nor rates. Of the authors' files only those of 18 and 19 % have four
layers with weights; Figure 1 is without regularisation, so it is the net of 19 % without weight
decay, on whole images. Each kind of unit gets the rate that is best for it after a few epochs: seed
0 looks for it, in steps of two, and is not used again. Sigmoid units, of which the paper says
nothing here, come last and with one seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from alexnet.claims.claim import Claim, Finding, Measured, Quantity, Run, Setting, Values, seeded
from alexnet.claims.intervals import mean_of, ratio_of, verdict_on
from alexnet.claims.measures import epochs_until, error_before, error_curve
from alexnet.config import (
    AugmentConfig,
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)
from alexnet.rows import read_rows

_BATCH = 128
_BASE_RATE = 0.001  # of the authors' CIFAR-10 files
# Where the search for each unit's rate begins, in powers of two.
_FIRST_GUESS = {"relu": 1, "tanh": 1, "sigmoid": 3}
_UNITS = tuple(_FIRST_GUESS)
_SEARCH_SEED = 0


def plan(setting: Setting, measured: Measured) -> Sequence[Run]:
    """The search of each unit's rate, then its seeds with that rate."""
    searches: list[Run] = []
    runs: list[Run] = []
    for units in _UNITS:
        tried = _tried(measured, units)
        power = _next_power(tried, _FIRST_GUESS[units])
        if power is not None:
            searches.append(_run(setting, units, power, _SEARCH_SEED))
        elif math.isfinite(min(tried.values())):
            best_run = _run(setting, units, _best(tried, _FIRST_GUESS[units]), 1)
            runs += seeded([best_run], range(1, _seeds(setting, units) + 1))
    return [*searches, *runs]


def find(setting: Setting, measured: Measured) -> Finding:
    """Epochs to the goal for each kind of unit, and those of tanh and sigmoid over ReLU's."""
    quantities, notes, epochs = [], [], {}
    goal = f"{setting.scale.cifar.goal:.1%} training error".replace(".0%", " %")
    for units in _UNITS:
        tried = _tried(measured, units)
        if tried:
            notes.append(_searched(setting, units, tried))
        best = _best(tried, _FIRST_GUESS[units])
        epochs[units] = _epochs(setting, measured, _arm(units, best))
        name = f"epochs to {goal}, {units} at rate {_BASE_RATE * 2.0**best:g}"
        quantities.append(epochs[units].bound(mean_of(name, "epochs", epochs[units].values)))
    ratios = [
        _ratio(units, epochs[units], epochs["relu"], paper)
        for units, paper in (("tanh", 6.0), ("sigmoid", None))
    ]
    if any(of_units.missed for of_units in epochs.values()):
        notes.append("at least: seeds that did not reach the goal count with the epochs they had")
    return Finding(
        [*quantities, *ratios],
        verdict_on(ratios[0], "ReLU needs fewer epochs than tanh", neutral=1.0),
        notes,
    )


@dataclass(frozen=True)
class _Epochs:
    """Epochs to the goal, one value a seed; of `missed` seeds only that they need more."""

    values: list[float]
    missed: int

    def bound(self, quantity: Quantity) -> Quantity:
        """The quantity, or what remains of it where a seed missed the goal: a lower bound."""
        if not self.missed:
            return quantity
        name = f"{quantity.name}, at least"
        return replace(quantity, name=name, low=None, high=None, spread=None)


def _epochs(setting: Setting, measured: Measured, arm: str) -> _Epochs:
    taken = _taken(measured, arm)
    most = float(setting.scale.cifar.most_epochs)
    return _Epochs([most if value is None else value for value in taken], taken.count(None))


def _ratio(units: str, theirs: _Epochs, relu: _Epochs, paper: float | None) -> Quantity:
    name = f"epochs of {units} over those of ReLU"
    if relu.missed:  # of two bounds nothing follows
        return ratio_of(name, [], [], paper)
    return theirs.bound(ratio_of(name, theirs.values, relu.values, paper))


def _seeds(setting: Setting, units: str) -> int:
    return 1 if units == "sigmoid" else setting.scale.seeds


def _run(setting: Setting, units: str, power: int, seed: int) -> Run:
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
        partial(_measure, goal=scale.goal, pilot_epochs=scale.pilot_epochs),
        partial(_pilot_done, epochs=scale.pilot_epochs)
        if seed == _SEARCH_SEED
        else partial(_goal_reached, goal=scale.goal),
    )


_LOG_EVERY = 98  # steps: a quarter of an epoch of 50,000 images


def _measure(run: Path, goal: float, pilot_epochs: float) -> Values:
    trainings = _trainings(run)
    return {
        "pilot_error": None if _is_lost(trainings) else error_before(trainings, pilot_epochs),
        "epochs_to_goal": epochs_until(trainings, goal),
        "epochs": trainings[-1]["epoch"],
        "train_curve": [
            [round(epochs, 3), round(error, 5)] for epochs, error in error_curve(trainings)
        ],
        "images_per_second": trainings[-1]["images_per_second"],
    }


def _pilot_done(run: Path, epochs: float) -> bool:
    """Whether enough is known of a rate."""
    trainings = _trainings(run)
    return bool(trainings) and (_is_lost(trainings) or trainings[-1]["epoch"] >= epochs)


def _goal_reached(run: Path, goal: float) -> bool:
    """Whether the goal is reached, or the loss is lost."""
    trainings = _trainings(run)
    return bool(trainings) and (_is_lost(trainings) or epochs_until(trainings, goal) is not None)


def _trainings(run: Path) -> list[dict[str, Any]]:
    return [row for row in read_rows(run / "metrics.jsonl") if row["split"] == "train"]


def _is_lost(trainings: Sequence[dict[str, Any]]) -> bool:
    return trainings[-1]["loss"] is None


def _arm(units: str, power: int) -> str:
    return f"figure-1-{units}-{_BASE_RATE * 2.0**power:g}"


def _taken(measured: Measured, arm: str) -> list[float | None]:
    """Epochs to the goal of every seed but the search's; None: not reached."""
    return [
        values["epochs_to_goal"]
        for (other, seed), values in sorted(measured.items(), key=lambda item: item[0])
        if other == arm and seed != _SEARCH_SEED
    ]


def _tried(measured: Measured, units: str) -> dict[int, float]:
    """Power of two to training error, for every rate that was tried; inf: the loss was lost."""
    tried = {}
    for power in range(-12, 13):
        values = measured.get((_arm(units, power), _SEARCH_SEED))
        if values is not None:
            error = values["pilot_error"]
            tried[power] = math.inf if error is None else error
    return tried


def _next_power(tried: dict[int, float], first: int) -> int | None:
    """The next rate to try: up first, then down, until the best has a worse one on both sides.

    Where every rate loses the loss, the search ends three steps either way from where it began.
    """
    if not tried:
        return first
    if not math.isfinite(min(tried.values())):
        wanted = [first + step for step in (1, -1, 2, -2, 3)]
        return next((power for power in wanted if power not in tried), None)
    best = _best(tried, first)
    return next((power for power in (best + 1, best - 1) if power not in tried), None)


def _best(tried: dict[int, float], first: int) -> int:
    """The best rate; of equals the one nearest to where the search began."""
    return min(tried, key=lambda power: (tried[power], abs(power - first)), default=first)


def _searched(setting: Setting, units: str, tried: dict[int, float]) -> str:
    found = [
        f"{_BASE_RATE * 2.0**power:g}: {'lost' if math.isinf(error) else f'{error:.1%}'}"
        for power, error in sorted(tried.items())
    ]
    epochs = setting.scale.cifar.pilot_epochs
    return f"search of the rate for {units}, training error after {epochs:g} epochs: " + ", ".join(
        found
    )


CLAIM = Claim(
    name="relu",
    section="3.1, Figure 1",
    paper="ReLUs reach 25 % training error on CIFAR-10 six times faster than tanh units",
    logs="nothing; the net and its rates are not named",
    data="cifar10",
    plan=plan,
    find=find,
)
