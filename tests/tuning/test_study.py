"""A study shared by processes that are killed: each trial is trained once, to the same end."""

import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alexnet.config import read_config
from alexnet.errors import CannotLearnError, UserError
from alexnet.process import threads_each
from alexnet.training.checkpoint import checkpoints
from alexnet.tuning.halving import Trial, best
from alexnet.tuning.page import command_line, share_of_full
from alexnet.tuning.search import search
from alexnet.tuning.space import configured
from alexnet.tuning.storage import lasting_storage, shown_storage
from alexnet.tuning.study import open_study, work
from runs import finish, start

# Steps of milliseconds; six trials of one epoch, the best two of two, the best of all of six.
_SETTINGS = (
    *("--set", "model.width=0.03125", "--set", "model.image_size=48", "--set", "data.size=54"),
    *("--set", "train.alarm=false", "--set", "checkpoint.every_steps=8", "--batch-size", "1"),
    *("--set", "train.device=cpu", "--set", "train.precision=fp32"),
    *("--lr", "0.002", "--epochs", "6", "--trials", "6"),
)


_QUICK = (
    *("model.width=0.03125", "model.image_size=48", "data.size=54", "train.alarm=false"),
    *("train.epochs=1", "train.batch_size=16", "train.device=cpu", "optimizer.lr=0.002"),
)


def make(data: Path | None, out: Path | None, **changes: Any) -> dict[str, Any]:
    """A search of three trials of one epoch, or the same with changes."""
    asked: dict[str, Any] = {
        "data": None if data is None else str(data),
        "recipe": None,
        "assignments": _QUICK,
        "init": None,
        "out": out,
        "trials": 3,
        "budget": None,
        "workers": 1,
        "storage": "folder",
    }
    return search(**{**asked, **changes})


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
    _, verb, option, path = shlex.split(command_line(study, winner))
    assert (verb, option) == ("train", "--config")
    assert read_config(Path(path)) == configured(study.config, winner.point)
    assert path in page
    assert share_of_full(study, trials) == pytest.approx((6 * 1 + 2 * 1 + 1 * 4) / 36)
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
def test_workers_of_one_command_share_its_trials_and_the_cores(
    image_folder: Path, tmp_path: Path
) -> None:
    """If each of them had a thread for every core, they would wait for each other."""
    study = tmp_path / "study"
    options = ("--out", str(study), "--storage", "folder", "--workers", "2", *_SETTINGS)
    command = [sys.executable, "-m", "alexnet", "tune", str(image_folder), *options]
    unsaid = {k: value for k, value in os.environ.items() if k != "OMP_NUM_THREADS"}
    subprocess.run(command, env=unsaid, check=True, capture_output=True)
    reached = rungs_reached(study)
    assert max(reached.values()) == 1
    assert Counter(rung for _, rung in reached) == {0: 6, 1: 2, 2: 1}
    described = [json.loads(path.read_text()) for path in study.rglob("environment.json")]
    assert {run["threads"] for run in described} == {threads_each(2)}


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["journal", "postgresql"])
def test_two_processes_share_a_study_of_optuna(
    storage: str, image_folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("optuna")
    if storage == "postgresql":
        storage = request.getfixturevalue("postgresql")
    study = tmp_path / "study"
    arguments = ("tune", image_folder, "--out", study, "--storage", storage, *_SETTINGS)
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
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from alexnet.tuning import study as module

    advance = module.advance

    def stubborn(run: Path, *rest: object) -> object:
        if run.parent.name == "0001":
            (run / "checkpoints").mkdir(parents=True, exist_ok=True)
            (run / "metrics.jsonl").touch()
            raise CannotLearnError("it has collapsed", "try another rate")
        return advance(run, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "advance", stubborn)
    result = make(image_folder, tmp_path / "study")
    trials = open_study(tmp_path / "study").ledger().trials()
    assert trials[1].failure == "it has collapsed; try another rate"
    assert result["best"]["trial"] != 1
    told = capsys.readouterr().err
    assert "trial 1: failed by epoch 1: it has collapsed; try another rate; " in told
    error = trials[0].scores[0].error
    assert f"trial 0: lowest top-1 error {error:.2%} by epoch 1; " in told
    assert work(open_study(tmp_path / "study")) == trials  # done is done


def test_what_is_no_fault_of_the_trial_ends_the_worker_and_can_be_mended(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alexnet.tuning import study as module

    advance, calls = module.advance, []

    def full_disk(run: Path, *rest: object) -> object:
        calls.append(run)
        if len(calls) == 2:
            raise UserError("cannot write it: the disk is full; free some space")
        return advance(run, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "advance", full_disk)
    with pytest.raises(UserError, match=r"free some space; that mended, .* tune --out"):
        make(image_folder, tmp_path / "study")
    assert make(None, tmp_path / "study", assignments=(), trials=None)["trials"] == 3
    trials = open_study(tmp_path / "study").ledger().trials()
    assert [trial.failure for trial in trials] == [None] * 3


def test_images_that_changed_between_trials_end_the_study(
    new_image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """Two trials on other images cannot be compared, and none of them alone would notice."""
    images, study = new_image_folder(), tmp_path / "study"
    make(images, study)
    shutil.rmtree(study / "trials" / "0002")
    shutil.copy(images / "train" / "red" / "000.png", images / "train" / "blue" / "more.png")
    with pytest.raises(UserError, match=r"not those that .*study began with; .* another --out"):
        make(None, study, assignments=(), trials=None)


def test_the_winner_can_be_trained_though_its_folder_is_gone(
    image_folder: Path, tmp_path: Path
) -> None:
    result = make(image_folder, tmp_path / "study")
    number = result["best"]["trial"]
    run = tmp_path / "study" / "trials" / f"{number:04d}" / "run"
    expected = read_config(run / "config.json")
    shutil.rmtree(run)
    study = open_study(tmp_path / "study")
    *_, path = shlex.split(command_line(study, study.ledger().trials()[number]))
    assert read_config(Path(path)) == expected


@pytest.fixture
def study(undisturbed: Path) -> Path:
    return undisturbed


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"trials": 30}, "--trials 6, not 30"),
        ({"budget": "2h"}, "--budget left out, not 2h"),
        ({"storage": "journal"}, "--storage folder, not journal"),
        ({"recipe": "paper"}, "--recipe default, not paper"),
        ({"assignments": ["optimizer.lr=0.01"]}, "optimizer.lr 0.002, not 0.01"),
        ({"assignments": ["optimizer.momentum=0.9"]}, "optimizer.momentum searched, not set"),
        ({"full": True}, "rungs at epochs 1, 2, 6, not 6"),
    ],
)
def test_another_study_than_the_one_that_is_there_is_refused(
    study: Path, asked: dict[str, Any], said: str
) -> None:
    nothing = {"assignments": (), "trials": None, "storage": "auto"}
    with pytest.raises(UserError, match=f"was made with {said}.*choose another --out"):
        make(None, study, **{**nothing, **asked})


def test_the_same_options_and_none_at_all_go_on(
    study: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(image_folder.parent)
    relative = Path(image_folder.name)
    same = ["optimizer.lr=2e-3", "train.epochs=6"]
    assert make(relative, study, trials=6, assignments=same)["trials"] == 6
    assert make(None, study, trials=None, assignments=(), storage="auto")["trials"] == 6


def test_a_folder_of_the_same_name_is_not_taken_for_the_first(
    image_folder: Path, new_image_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_image_folder()
    monkeypatch.chdir(other.parent)
    same_name = other.rename(other.with_name(image_folder.name))
    make(image_folder, None, trials=1)
    make(image_folder, None, trials=1)
    named = (f"data.source={image_folder}", *_QUICK)
    make(None, None, trials=1, assignments=named)
    monkeypatch.chdir(image_folder.parent)
    named = (f"data.source={image_folder.name}", *_QUICK)
    make(None, other.parent / "other-study", trials=1, assignments=named)
    monkeypatch.chdir(other.parent)
    with pytest.raises(UserError, match=r"the images .*, not .*choose another --out"):
        make(same_name, None)


def test_a_storage_that_cannot_be_opened_leaves_no_study(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alexnet.tuning.study.has_optuna", lambda: False)
    monkeypatch.setattr("alexnet.tuning.page.has_optuna", lambda: False)
    out = tmp_path / "study"
    with pytest.raises(UserError, match=r"needs Optuna.*--storage folder"):
        make(image_folder, out, storage="journal")
    assert not (out / "study.json").exists()
    assert make(image_folder, out, storage="folder")["trials"] == 3


def test_a_relative_storage_is_the_same_from_everywhere(tmp_path: Path) -> None:
    assert lasting_storage("sqlite:///study.db") == f"sqlite:///{Path.cwd()}/study.db"
    for lasting in ("folder", "journal", "sqlite:////a/study.db", "postgresql://host/name"):
        assert lasting_storage(lasting) == lasting


def test_a_password_is_not_shown() -> None:
    shown = shown_storage("postgresql://me:se:c@ret@host:5432/name")
    assert shown == "postgresql://me:***@host:5432/name"
    for open_to_all in ("folder", "sqlite:////a/b:c@d.db", "postgresql://me@host:5432/name"):
        assert shown_storage(open_to_all) == open_to_all


def test_trials_of_one_epoch_are_compared_within_it(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the user wants a run evaluated."""
    monkeypatch.setattr("alexnet.tuning.halving._TELLING_STEPS", 2)
    rare = (*_QUICK, "train.evaluate_every_epochs=5", "train.batch_size=2")
    made = make(image_folder, tmp_path / "study", assignments=rare, trials=9)
    trials = open_study(tmp_path / "study").ledger().trials()
    assert [sum(rung in t.scores for t in trials) for rung in range(3)] == [9, 3, 1]
    assert made["share_of_full_training"] == pytest.approx(7 / 27, abs=0.05)
