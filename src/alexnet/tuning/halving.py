"""Successive halving as a pure function of what is known. Free of torch.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization"
(2016): all trials train to the first rung, the best third of them to the second, and so on. The
usual asynchronous form (Li et al. 2020) promotes on what is known so far, and trains more trials
further than needed. Here a trial goes on as soon as, and only if, its place among the best is
certain, whatever the unfinished ones will bring. So the trials that reach each rung do not depend
on the number of workers, and nothing waits that could be trained. The place of a trial that fails
on the way to the next rung goes to the next best.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

# The order of 30 trials correlates with their order at the end by 0.0 to 0.2 after 10 to 20 steps,
# by 0.7 to 0.9 after 40 to 50 (docs/log.md, 28 November 2026).
_TELLING_STEPS = 40

Rungs = tuple[float, ...]


@dataclass(frozen=True)
class Score:
    """A trial at a rung: the best validation error so far, and its loss; less is better."""

    error: float
    loss: float


@dataclass(frozen=True)
class Trial:
    """One point of the search space and how far it has come.

    Attributes:
        number: from 0.
        point: `section.key` → value.
        target: index of the rung it is to reach.
        scores: index of rung → its score there.
        failure: why it cannot go on, if it cannot.
    """

    number: int
    point: dict[str, Any]
    target: int = 0
    scores: dict[int, Score] = field(default_factory=dict)
    failure: str | None = None

    @property
    def arrived(self) -> bool:
        """Whether it has reached the rung it was to reach."""
        return self.target in self.scores

    def measured(self, rung: int) -> Score | None:
        """Its score at a rung, if it was evaluated there: that of a failure is a rank only."""
        return None if _failed_at(self, rung) else self.scores.get(rung)

    def rank(self, rung: int) -> tuple[float, float, int]:
        """What trials at a rung are ordered by."""
        score = self.scores[rung]
        return score.error, score.loss, self.number


@dataclass(frozen=True)
class Plan:
    """How many trials, and how far.

    Attributes:
        trials: at the first rung.
        rungs: epochs after which trials are compared, rising; the last is the whole training.
        keep: one in so many goes on to the next rung.
    """

    trials: int
    rungs: Rungs
    keep: int = 3

    def places(self, rung: int) -> int:
        """How many trials train to a rung; at least one to every rung."""
        return max(1, self.trials // int(self.keep**rung))

    def epochs(self) -> float:
        """Epochs of training that the whole search takes."""
        before = (0, *self.rungs)
        return sum(
            self.places(rung) * (epochs - before[rung]) for rung, epochs in enumerate(self.rungs)
        )

    def evaluations(self) -> int:
        """Evaluations that the whole search takes: after every epoch and at every rung."""
        before = (0, *self.rungs)
        return sum(
            self.places(rung) * (math.ceil(epochs) - math.floor(before[rung]))
            for rung, epochs in enumerate(self.rungs)
        )

    def share(self) -> float:
        """Its epochs, relative to training every trial to the end."""
        return self.epochs() / (self.trials * self.rungs[-1])


def rungs_of(epochs: int, steps_per_epoch: int, keep: int = 3, count: int = 3) -> Rungs:
    """At most `count` rungs, each about `keep` times the one before, the last at the end.

    After whole epochs, where a run is evaluated anyway; below one, at a share of it. A short
    training has fewer: after too few steps all networks still guess, and their order says nothing.

    Args:
        epochs: of the whole training.
        steps_per_epoch: of it.
        keep: one trial in so many is to go on.
        count: of rungs.
    """
    least = _TELLING_STEPS / steps_per_epoch
    least = math.ceil(least) if least > 1 else least
    rungs: list[float] = [epochs]
    while len(rungs) < count:
        lower = rungs[0] / keep
        lower = max(least, round(lower) or lower)
        if lower > rungs[0] / 2:
            break  # hardly less work
        rungs.insert(0, lower)
    return tuple(rungs)


@dataclass(frozen=True)
class Job:
    """What a worker does next.

    Attributes:
        kind: "new" makes a trial, "train" takes one on to its target, "promote" gives one the
            next target; "wait" for others; "done".
        trial: the trial, for "train" and "promote".
    """

    kind: Literal["new", "train", "promote", "wait", "done"]
    trial: Trial | None = None


def next_job(trials: Sequence[Trial], busy: Iterable[int], plan: Plan) -> Job:
    """What should be done next.

    Args:
        trials: all there are.
        busy: numbers of those that somebody is training.
        plan: of the study.
    """
    taken = set(busy)
    for trial in trials:
        if not trial.arrived and trial.number not in taken:
            return Job("train", trial)  # whoever trained it is gone
    to_promote = list(_to_promote(trials, plan))
    for trial in to_promote:
        if trial.number not in taken:
            return Job("promote", trial)
    if len(trials) < plan.trials:
        return Job("new")
    going_on = to_promote or any(not trial.arrived for trial in trials)
    return Job("wait") if going_on else Job("done")


def _to_promote(trials: Sequence[Trial], plan: Plan) -> Iterator[Trial]:
    """Those that belong to the next rung whatever the unfinished ones will bring, best first."""
    for rung in reversed(range(len(plan.rungs) - 1)):
        there = _by_rank(trials, rung)
        alive = sum(not _failed_at(trial, rung) for trial in there)
        unknown = _expected(trials, rung, plan) - alive
        certain = plan.places(rung + 1) - unknown
        for trial in there:
            if certain <= 0:
                break
            if _failed_at(trial, rung):
                continue
            if trial.target == rung:
                yield trial
            certain -= not _failed_at(trial, rung + 1)


def hopeless(trials: Sequence[Trial], plan: Plan) -> list[Trial]:
    """Trials that will not go on, so that their checkpoints need not be kept.

    One that is to go on after all, because a better one has failed later, begins anew.
    """
    found = []
    for rung in range(len(plan.rungs)):
        places = plan.places(rung + 1) if rung + 1 < len(plan.rungs) else 0
        for trial in _by_rank(trials, rung):
            is_here = trial.target == rung
            if is_here and (trial.failure or places <= 0):
                found.append(trial)
            if not (_failed_at(trial, rung) or _failed_at(trial, rung + 1)):
                places -= 1
    return found


def best(trials: Sequence[Trial]) -> Trial | None:
    """The best trial at the highest rung that any has reached."""
    reached = [rung for trial in trials for rung in trial.scores if not trial.failure]
    if not reached:
        return None
    rung = max(reached)
    there = [t for t in _at(trials, rung) if not t.failure]
    return min(there, key=lambda t: t.rank(rung))


def _expected(trials: Sequence[Trial], rung: int, plan: Plan) -> int:
    """How many trials come to a rung in the end without failing there.

    Fewer than planned where too many have failed.
    """
    before = _expected(trials, rung - 1, plan) if rung else plan.trials
    return min(plan.places(rung), before - sum(_failed_at(trial, rung) for trial in trials))


def _failed_at(trial: Trial, rung: int) -> bool:
    return trial.failure is not None and trial.target == rung


def _at(trials: Sequence[Trial], rung: int) -> list[Trial]:
    return [trial for trial in trials if rung in trial.scores]


def _by_rank(trials: Sequence[Trial], rung: int) -> list[Trial]:
    return sorted(_at(trials, rung), key=lambda trial: trial.rank(rung))
