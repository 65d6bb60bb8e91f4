"""The parts of a claim: runs that are planned from what is known, and what they show.

A claim is two pure functions. `plan` names every run that the claim wants, given what is measured
so far; `find` turns measurements, however many there are, into quantities. Because both depend on
nothing else, work can stop and go on anywhere, several runs can go on at once, and a result exists
as soon as one run is done. Free of torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alexnet.claims.scales import Scale
from alexnet.config import Config

Values = dict[str, Any]
"""What was measured of a run: numbers and lists of them by name, as JSON holds them."""


@dataclass(frozen=True)
class Run:
    """One training with one seed, and what is measured of it.

    Attributes:
        arm: which side of the comparison it belongs to; with the seed and the configuration it
            names the run directory, so that claims share the runs they have in common.
        measure: what to measure of the finished run directory.
        enough: whether the run may end before its configuration says so.
    """

    arm: str
    seed: int
    config: Config
    measure: Callable[[Path], Values]
    enough: Callable[[Path], bool] | None = None

    @property
    def key(self) -> tuple[str, int]:
        """By which `find` and `plan` know the run again."""
        return self.arm, self.seed


Measured = Mapping[tuple[str, int], Values]
"""What is known so far: (arm, seed) to values."""


@dataclass(frozen=True)
class Setting:
    """Where a claim is put to the test."""

    scale: Scale
    data: str  # a name or a path, as `alexnet train` takes it


@dataclass(frozen=True)
class Quantity:
    """A number the claim is about: the paper's, the authors' logged one, and ours.

    Attributes:
        name: what it is, in words.
        unit: "%" (values are percentages), "points", "epochs", "ratio", …
        values: ours, one of each seed; where it compares two arms, empty.
        mean, low, high: ours with its 95 % interval (None: too few runs to say).
        spread: standard deviation over the seeds, None below two.
        paper, logs: the published number and that in the authors' logs, None where there is none.
    """

    name: str
    unit: str
    mean: float | None
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    seeds: int = 0
    values: tuple[float, ...] = ()
    paper: float | None = None
    logs: float | None = None


@dataclass(frozen=True)
class Finding:
    """What the runs show so far."""

    quantities: Sequence[Quantity]
    verdict: str  # one sentence
    notes: Sequence[str] = ()  # what a reader must know to believe it or not


@dataclass(frozen=True)
class Claim:
    """A claim of the paper that can be put to the test.

    Attributes:
        section: where the paper makes it.
        paper: what the paper says, in short.
        logs: what the authors' logs and files say, or that they say nothing.
        data: which data the claim is about: "cifar10" or "photographs".
    """

    name: str
    section: str
    paper: str
    logs: str
    data: str
    plan: Callable[[Setting, Measured], Sequence[Run]]
    find: Callable[[Setting, Measured], Finding]


def seeded(runs: Sequence[Run], seeds: Sequence[int]) -> list[Run]:
    """Every run with every seed; all arms of a seed before the next, so that pairs finish early."""
    return [
        replace(
            run,
            seed=seed,
            config=replace(run.config, train=replace(run.config.train, seed=seed)),
        )
        for seed in seeds
        for run in runs
    ]


def values_of(measured: Measured, arm: str, name: str) -> list[float]:
    """One measured number of an arm, seed by seed in order, leaving out what has none."""
    found = [(seed, values.get(name)) for (other, seed), values in measured.items() if other == arm]
    return [float(value) for _, value in sorted(found) if value is not None]
