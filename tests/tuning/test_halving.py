"""Halving that promotes only what is certain: the same trials for any number of workers."""

import itertools
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.progress import shown_epochs
from alexnet.tuning.halving import Job, Plan, Score, Trial, best, hopeless, next_job, rungs_of

FAILED = Score(1.0, 0.0)


def simulate(plan: Plan, quality: list[list[float]], workers: int, seed: int) -> list[list[int]]:
    """Which trials reach each rung, when that many workers end their jobs in random order.

    Args:
        plan: of the study.
        quality: for each trial its error at each rung.
        workers: how many.
        seed: of the order.
    """
    chance = random.Random(seed)
    trials: dict[int, Trial] = {}
    busy: list[int] = []
    reporting: list[int] = []  # arrived, and still held by whoever has trained them
    reached: list[list[int]] = [[] for _ in plan.rungs]
    while True:
        if reporting and chance.random() < 0.5:
            reporting.pop(chance.randrange(len(reporting)))
        job = next_job(list(trials.values()), [*busy, *reporting], plan)
        if job.kind == "new":
            number = len(trials)
            trials[number] = Trial(number, {})
            busy.append(number)
        elif job.kind in ("train", "promote"):
            assert job.trial is not None
            number = job.trial.number
            assert number not in [*busy, *reporting]
            if job.kind == "promote":
                trials[number] = Trial(number, {}, job.trial.target + 1, job.trial.scores)
            busy.append(number)
        if job.kind == "done":
            assert not busy
            return reached
        # A worker ends, or is killed: then its trial is neither busy nor arrived.
        if not busy:
            assert reporting
        elif job.kind == "wait" or len(busy) == workers:
            number = busy.pop(chance.randrange(len(busy)))
            if chance.random() < 0.2:
                continue
            trial = trials[number]
            assert not trial.arrived
            reached[trial.target].append(number)
            score = Score(quality[number][trial.target], 0.0)
            failure = "collapsed" if score == FAILED else None
            scores = {**trial.scores, trial.target: score}
            trials[number] = Trial(number, {}, trial.target, scores, failure)
            reporting.append(number)


def synchronous(plan: Plan, quality: list[list[float]]) -> list[list[int]]:
    """The oracle: rung after rung; whoever fails on the way to one is replaced by the next best."""
    there = list(range(plan.trials))
    reached = [there]
    for rung in range(1, len(plan.rungs)):
        places = max(1, plan.trials // plan.keep**rung)
        alive = [number for number in there if quality[number][rung - 1] != FAILED.error]
        there = []
        for number in sorted(alive, key=lambda number: (quality[number][rung - 1], number)):
            if sum(quality[other][rung] != FAILED.error for other in there) < places:
                there.append(number)
        reached.append(sorted(there))
    return reached


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 20), st.integers(1, 5), st.integers(0, 1000), st.integers(2, 4))
def test_any_number_of_workers_trains_the_same_trials_once(
    trials: int, workers: int, seed: int, keep: int
) -> None:
    plan = Plan(trials, (1, 3, 9), keep)
    chance = random.Random(seed)
    quality = [[chance.choice((0.1, 0.2, 0.3, chance.random()))] * 3 for _ in range(trials)]
    reached = simulate(plan, quality, workers, seed)
    assert all(len(set(numbers)) == len(numbers) for numbers in reached)
    assert [sorted(numbers) for numbers in reached] == synchronous(plan, quality)
    before = (0, *plan.rungs)
    epochs = sum(len(n) * (plan.rungs[r] - before[r]) for r, n in enumerate(reached))
    assert epochs == plan.epochs()


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 20), st.integers(1, 5), st.integers(0, 1000), st.floats(0, 1))
def test_failures_make_room_and_hold_nobody_up(
    trials: int, workers: int, seed: int, share: float
) -> None:
    """Also where so many fail that later rungs cannot be filled."""
    plan = Plan(trials, (1, 3, 9))
    chance = random.Random(seed)
    quality = [
        [FAILED.error if chance.random() < share else chance.random() for _ in plan.rungs]
        for _ in range(trials)
    ]
    reached = simulate(plan, quality, workers, seed)
    assert [sorted(numbers) for numbers in reached] == synchronous(plan, quality)


def test_a_third_of_the_work_or_less() -> None:
    plan = Plan(30, rungs_of(38, 25))
    assert plan.rungs == (4, 13, 38)
    assert plan.epochs() == 30 * 4 + 10 * 9 + 3 * 25
    assert plan.share() == pytest.approx(285 / 1140)
    assert plan.evaluations() == plan.epochs()
    assert all(Plan(30, rungs_of(epochs, 400)).share() < 0.34 for epochs in range(1, 100))


def test_short_trainings_are_compared_within_an_epoch() -> None:
    assert rungs_of(1, 782) == pytest.approx((1 / 9, 1 / 3, 1))
    assert rungs_of(2, 782) == pytest.approx((1 / 3, 1, 2))
    assert rungs_of(3, 782) == pytest.approx((1 / 3, 1, 3))
    assert rungs_of(6, 46) == (1, 2, 6)
    assert rungs_of(18, 46) == (2, 6, 18)
    assert [shown_epochs(epochs) for epochs in rungs_of(1, 782)] == ["0.11", "0.33", "1"]


def test_nobody_is_judged_by_a_few_steps() -> None:
    assert rungs_of(1, 46) == (1,)
    assert rungs_of(3, 46) == (1, 3)
    assert rungs_of(1, 100) == (0.4, 1)
    assert rungs_of(20, 5) == (8, 20)
    assert rungs_of(90, 5) == (10, 30, 90)
    assert rungs_of(30, 1) == (30,)


@given(st.integers(1, 200), st.integers(1, 30_000))
def test_rungs_rise_to_the_end_and_save_something(epochs: int, steps: int) -> None:
    rungs = rungs_of(epochs, steps)
    assert rungs[-1] == epochs
    assert all(2 * low <= high for low, high in itertools.pairwise(rungs))
    assert all(rung * steps >= 39.99 and (rung < 1 or rung == int(rung)) for rung in rungs[:-1])


@pytest.mark.parametrize(("rungs", "expected"), [((1 / 3, 1, 3), (1, 1, 2)), ((0.5, 2.5), (1, 3))])
def test_evaluations_are_those_at_epochs_and_at_rungs(
    rungs: tuple[float, ...], expected: tuple[int, ...]
) -> None:
    """0.5, then 1, 2 and 2.5."""
    plan = Plan(9, rungs)
    places = [plan.places(rung) for rung in range(len(rungs))]
    assert plan.evaluations() == sum(p * n for p, n in zip(places, expected, strict=True))


def test_hopeless_trials_are_those_that_enough_others_have_passed() -> None:
    plan = Plan(6, (1, 3))  # two go on
    trials = [Trial(n, {}, 0, {0: Score(0.1 * n, 0.0)}) for n in range(4)]
    assert hopeless(trials, plan) == trials[2:]
    running = Trial(0, {}, 1, {0: Score(0.0, 0.0)})
    assert hopeless([running, *trials[1:]], plan) == trials[2:]
    failed = replace(running, scores={0: Score(0.0, 0.0), 1: FAILED}, failure="collapsed")
    assert hopeless([failed, *trials[1:]], plan) == [trials[3], failed]


def test_whoever_fails_on_the_way_is_replaced() -> None:
    plan = Plan(4, (1, 3, 9))  # one goes on
    first = {0: Score(0.1, 0.0), 1: FAILED}
    failed = Trial(0, {}, 1, first, "collapsed")
    others = [Trial(n, {}, 0, {0: Score(0.1 * n, 0.0)}) for n in range(1, 4)]
    assert next_job([failed, *others], [], plan) == Job("promote", others[0])
    assert next_job([failed, *others], [1], plan) == Job("wait")


def test_failed_trials_take_no_place() -> None:
    plan = Plan(3, (1, 3))
    failed = [Trial(n, {}, 0, {0: Score(1.0, 1e9)}, "collapsed") for n in range(2)]
    good = Trial(2, {}, 0, {0: Score(0.5, 1.0)})
    assert next_job([*failed, good], [], plan).trial == good
    assert best([*failed, good]) == good
    assert best(failed) is None
    everything = [Trial(n, {}, 0, {0: Score(1.0, 1e9)}, "collapsed") for n in range(3)]
    assert next_job(everything, [], plan).kind == "done"


def test_a_thousand_trials_are_judged_at_once() -> None:
    """What a worker does under the study's lock grows with the trials, not with their square."""
    plan = Plan(1000, (1, 3, 9))
    trials = [Trial(n, {}, 0, {0: Score(0.001 * (n % 7), 0.0)}) for n in range(1000)]
    ranks = Counter[int]()

    class Counted(Trial):
        def rank(self, rung: int) -> tuple[float, float, int]:
            ranks[rung] += 1
            return super().rank(rung)

    counted = [Counted(t.number, t.point, t.target, t.scores) for t in trials]
    assert len(hopeless(counted, plan)) == 667
    assert next_job(counted, [], plan).kind == "promote"
    assert ranks[0] < 10_000
