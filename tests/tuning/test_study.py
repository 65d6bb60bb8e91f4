"""A study shared by processes that are killed: each trial is trained once, to the same end."""

import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from alexnet.training.checkpoint import checkpoints
from alexnet.tuning.halving import Trial, best
from alexnet.tuning.study import open_study, work
from runs import finish, start

# Steps of milliseconds; six trials of one epoch, the best two of two, the best of all of six.
_SETTINGS = (
    *("--set", "model.width=0.03125", "--set", "model.image_size=48", "--set", "data.size=54"),
    *("--set", "train.alarm=false", "--set", "checkpoint.every_steps=1", "--batch-size", "16"),
    *("--set", "train.device=cpu", "--set", "train.precision=fp32"),
    *("--lr", "0.002", "--epochs", "6", "--trials", "6"),
)


def outcome(study: Path) -> list[tuple[int, dict, dict, int]]:
    """What a finished study says, without times."""
    trials = open_study(study).ledger().trials()
    return [(t.number, t.point, t.scores, t.target) for t in trials]


def rungs_reached(study: Path) -> Counter[tuple[int, int]]:
    lines = (study / "history.jsonl").read_text().splitlines()
    return Counter((row["trial"], row["rung"]) for row in map(json.loads, lines))


@pytest.fixture(scope="module")
def undisturbed(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = tmp_path_factory.mktemp("studies") / "undisturbed"
    assert finish("tune", image_folder, "--out", study, "--storage", "folder", *_SETTINGS) == 0
    return study


def test_a_study_halves_and_says_what_won(undisturbed: Path) -> None:
    study = open_study(undisturbed)
    trials = study.ledger().trials()
    assert study.plan.rungs == (1, 2, 6)
    assert [0 in trial.scores for trial in trials] == [True] * 6
    assert sum(1 in trial.scores for trial in trials) == 2
    assert sum(2 in trial.scores for trial in trials) == 1
    ranked = sorted(trials, key=lambda trial: trial.rank(0))
    assert {t.number for t in ranked[:2]} == {t.number for t in trials if 1 in t.scores}
    page = (undisturbed / "study.html").read_text()
    winner = best(trials)
    assert winner is not None
    assert f"optimizer.lr={winner.point['optimizer.lr']}" in page
    assert "What decides" in page
    assert page.count("<svg") == 1


def test_only_the_best_keeps_its_weights(undisturbed: Path) -> None:
    trials = open_study(undisturbed).ledger().trials()
    winner = best(trials)
    assert winner is not None
    for trial in trials:
        run = undisturbed / "trials" / f"{trial.number:04d}" / "run"
        assert (run / "weights.safetensors").exists() == (trial.number == winner.number)
        assert not checkpoints(run / "checkpoints")


@pytest.mark.slow
def test_two_processes_killed_again_and_again_end_the_same(
    undisturbed: Path, image_folder: Path, tmp_path: Path
) -> None:
    """kill -9 of either worker at random moments of training, saving and reporting."""
    study, moments = tmp_path / "study", random.Random(0)
    arguments = ("tune", image_folder, "--out", study, "--storage", "folder", *_SETTINGS)
    workers = [start(*arguments), start(*arguments)]
    killed = 0
    while killed < 4:
        time.sleep(moments.uniform(0.2, 1.0))
        victim = moments.randrange(2)
        if workers[victim].is_alive():
            killed += 1
            workers[victim].kill()
            workers[victim].join()
        elif workers[victim].exitcode == 0:
            break  # the study is done already
        workers[victim] = start(*arguments)
    for worker in workers:
        worker.join()
    assert killed >= 2
    assert finish(*arguments) == 0
    assert outcome(study) == outcome(undisturbed)
    # A worker killed between reporting and noting leaves one line too few, never one too many.
    assert max(rungs_reached(study).values()) == 1


@pytest.mark.slow
def test_two_processes_share_a_study_of_optuna(image_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    study = tmp_path / "study"
    arguments = ("tune", image_folder, "--out", study, "--storage", "journal", *_SETTINGS)
    workers = [start(*arguments), start(*arguments)]
    time.sleep(1.0)
    workers[0].kill()
    workers[0].join()
    workers[0] = start(*arguments)
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    plan = open_study(study).plan
    trials: list[Trial] = open_study(study).ledger().trials()
    assert [trial.number for trial in trials] == list(range(plan.trials))
    assert len({tuple(trial.point.items()) for trial in trials}) == plan.trials
    reached = rungs_reached(study)
    assert max(reached.values()) == 1
    assert sum(1 for _, rung in reached if rung == 1) <= 2
    assert {number for number, rung in reached if rung == 0} == set(range(plan.trials))


def test_a_trial_that_cannot_learn_is_the_last_of_all(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alexnet.errors import UserError
    from alexnet.tuning import study as module
    from alexnet.tuning.search import search

    advance = module.advance

    def stubborn(run: Path, *rest: object) -> object:
        if run.parent.name == "0001":
            (run / "checkpoints").mkdir(parents=True, exist_ok=True)
            (run / "metrics.jsonl").touch()
            raise UserError("it has collapsed")
        return advance(run, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "advance", stubborn)
    changes = [
        *("model.width=0.03125", "model.image_size=48", "data.size=54", "train.alarm=false"),
        *("train.epochs=1", "train.batch_size=16", "train.device=cpu", "optimizer.lr=0.002"),
    ]
    result = search(
        str(image_folder), None, changes, None, tmp_path / "study", 3, None, 1, "folder"
    )
    trials = open_study(tmp_path / "study").ledger().trials()
    assert trials[1].failure == "it has collapsed"
    assert result["best"]["trial"] != 1
    assert work(open_study(tmp_path / "study")) == trials  # done is done
