"""Both ledgers keep the same study."""

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet.defaults import DataFacts
from alexnet.errors import UserError
from alexnet.recipes import default
from alexnet.tuning.halving import Plan, Score
from alexnet.tuning.ledger import FolderLedger, Ledger, trial_folder
from alexnet.tuning.space import point_of, space_around

CONFIG = default(DataFacts(1000, 10, mirror=True))
SPACE = space_around(CONFIG)
FIRST = point_of(SPACE, CONFIG)
PLAN = Plan(6, (1, 3, 9))
_LOCK = "optuna.journal.lock"


def _folder(path: Path) -> Ledger:
    return FolderLedger(path, SPACE, 0)


def _journal(path: Path) -> Ledger:
    optuna_ledger = pytest.importorskip("alexnet.tuning.optuna_ledger")
    return optuna_ledger.OptunaLedger(path, "journal", "test", SPACE, 0, PLAN)


def _sqlite(path: Path) -> Ledger:
    optuna_ledger = pytest.importorskip("alexnet.tuning.optuna_ledger")
    return optuna_ledger.OptunaLedger(path, f"sqlite:///{path}/study.db", "test", SPACE, 0, PLAN)


@pytest.mark.parametrize("make", [_folder, _journal, _sqlite])
def test_what_is_written_is_read_again(make: Callable[[Path], Ledger], tmp_path: Path) -> None:
    _check_what_is_written(make, tmp_path)


def test_what_is_written_to_postgresql_is_read_again(postgresql: str, tmp_path: Path) -> None:
    optuna_ledger = pytest.importorskip("alexnet.tuning.optuna_ledger")
    _check_what_is_written(
        lambda path: optuna_ledger.OptunaLedger(path, postgresql, "test", SPACE, 0, PLAN), tmp_path
    )


def _check_what_is_written(make: Callable[[Path], Ledger], tmp_path: Path) -> None:
    ledger = make(tmp_path)
    trials = [ledger.new(FIRST) for _ in range(4)]
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert trials[0].point == FIRST
    assert len({tuple(trial.point.items()) for trial in trials}) == 4
    ledger.report(trials[0], 0, Score(0.5, 1.5))
    ledger.report(trials[0], 0, Score(0.5, 1.5))  # a worker was killed after reporting
    ledger.set_target(trials[0], 1)
    ledger.report(trials[1], 0, Score(1.0, 1e9), "collapsed")
    again = make(tmp_path)
    seen = again.trials()
    assert [trial.number for trial in seen] == [0, 1, 2, 3]
    assert seen[0].scores == {0: Score(0.5, 1.5)}
    assert seen[0].target == 1
    assert not seen[0].arrived
    assert seen[1].failure == "collapsed"
    assert seen[2].scores == {}
    assert [t.point for t in seen] == [t.point for t in trials]
    done = again.set_target(again.report(seen[0], 1, Score(0.4, 1.0)), 2)
    done = again.report(done, 2, Score(0.3, 0.9))
    again.close()
    assert make(tmp_path).trials()[0].scores[2] == Score(0.3, 0.9)


@pytest.mark.parametrize(
    ("rungs", "steps"), [((1, 3, 9), [1, 3, 9]), ((1 / 9, 1 / 3, 1), [0, 1, 2])]
)
def test_optuna_counts_epochs_or_rungs(
    rungs: tuple[float, ...], steps: list[int], tmp_path: Path
) -> None:
    optuna_ledger = pytest.importorskip("alexnet.tuning.optuna_ledger")
    import optuna

    url = f"sqlite:///{tmp_path}/study.db"
    ledger = optuna_ledger.OptunaLedger(tmp_path, url, "test", SPACE, 0, Plan(3, rungs))
    scores = {rung: Score(0.5 - rung / 10, 1.0) for rung in range(3)}
    trial = ledger.new(FIRST)
    for rung, score in scores.items():
        trial = ledger.report(ledger.set_target(trial, rung), rung, score)
    assert trial.scores == scores
    seen = optuna.load_study(study_name="test", storage=url).trials[0]
    assert sorted(seen.intermediate_values) == steps
    assert seen.value == scores[2].error


def test_optuna_learns_from_paused_trials(tmp_path: Path) -> None:
    """The error is the distance of the rate from a hidden best: late trials are nearer to it."""
    ledger = _journal(tmp_path)
    hidden = CONFIG.optimizer.lr * 4
    distances = []
    for _ in range(40):
        trial = ledger.new(FIRST)
        ratio = trial.point["optimizer.lr"] / hidden
        distance = max(ratio, 1 / ratio)
        distances.append(distance)
        ledger.report(trial, 0, Score(1.0 - 1.0 / distance, 1.0))
    early, late = sorted(distances[1:9])[4], sorted(distances[-12:])[6]
    assert late < early
    assert late < 2.0


def test_a_storage_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    optuna_ledger = pytest.importorskip("alexnet.tuning.optuna_ledger")
    with pytest.raises(UserError, match="cannot open the storage"):
        optuna_ledger.OptunaLedger(tmp_path, "sqlite:////nowhere/at/all.db", "test", SPACE, 0, PLAN)


def test_studies_that_share_a_storage_know_nothing_of_each_other(tmp_path: Path) -> None:
    optuna_ledger = pytest.importorskip("alexnet.tuning.optuna_ledger")
    url = f"sqlite:///{tmp_path}/shared.db"
    first, second = (
        optuna_ledger.OptunaLedger(tmp_path, url, name, SPACE, 0, PLAN) for name in ("a", "b")
    )
    first.report(first.new(FIRST), 0, Score(0.1, 1.0))
    assert second.trials() == []
    assert second.new(FIRST).number == 0


def test_a_trial_whose_folder_was_deleted_is_made_again(tmp_path: Path) -> None:
    """Under its own number: the number of trials would name one that is there."""
    ledger = _folder(tmp_path)
    points = [ledger.new(FIRST).point for _ in range(4)]
    shutil.rmtree(trial_folder(tmp_path, 1))
    again = ledger.new(FIRST)
    assert (again.number, again.point) == (1, points[1])
    assert ledger.new(FIRST).number == 4
    assert [trial.point for trial in ledger.trials()[:4]] == points


def test_a_storage_that_has_gone_is_said_in_one_line(tmp_path: Path) -> None:
    ledger = _sqlite(tmp_path)
    trial = ledger.new(FIRST)
    (tmp_path / "study.db").write_bytes(b"no data base any more, and long enough to look at" * 100)
    with pytest.raises(UserError, match=r"does not answer: .*same command goes on") as said:
        ledger.report(trial, 0, Score(0.5, 1.5))
    assert "\n" not in str(said.value)


def test_the_lock_of_a_relative_journal_leads_somewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna breaks the lock of a killed worker only if it can see its age through the link."""
    monkeypatch.chdir(tmp_path)
    study = Path("study")
    study.mkdir()
    ledger, seen = _journal(study), []
    monkeypatch.setattr(os, "fsync", lambda file: seen.append((study / _LOCK).exists()))
    ledger.new(FIRST)
    assert seen
    assert all(seen)


def test_a_disk_that_was_full_leaves_the_journal_whole(tmp_path: Path) -> None:
    """For the worker that failed, for one that goes on and for one that comes."""
    worker, other = _journal(tmp_path), _journal(tmp_path)
    trial = worker.new(FIRST)
    size = (tmp_path / "optuna.journal").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, before[1]))
    try:
        with pytest.raises(UserError, match="does not answer"):
            worker.report(trial, 0, Score(0.5, 1.5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "optuna.journal").stat().st_size == size
    assert other.report(trial, 0, Score(0.4, 1.0)).scores == {0: Score(0.4, 1.0)}
    with (tmp_path / "optuna.journal").open("a") as file:
        file.write('{"op_code":')  # the power went
    assert _journal(tmp_path).trials() == other.trials()
