"""`alexnet tune`, `train --init` and `train --budget` as people use them."""

import json
import math
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from alexnet.cli import run as command
from alexnet.config import Config, override
from alexnet.data.sources import open_source
from alexnet.parallel.devices import devices_for
from alexnet.tuning import budget, search
from alexnet.tuning.budget import Costs
from alexnet.tuning.page import explained
from alexnet.tuning.range_test import judge
from alexnet.tuning.space import Range

_TINY = (
    *("--set", "model.width=0.03125", "--set", "model.image_size=48", "--set", "data.size=54"),
    *("--set", "train.alarm=false", "--batch-size", "16", "--lr", "0.002", "--device", "cpu"),
)


def call(capsys: pytest.CaptureFixture[str], *arguments: Any, code: int = 0) -> Any:
    capsys.readouterr()
    assert command([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    return json.loads(captured.out) if code == 0 else captured.err.splitlines()[-1]


def test_the_range_test_ends_in_a_rate_and_a_plot(
    image_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "speeds", lambda config: {16: 90.0, 32: 140.0, 64: 141.0})
    said = call(capsys, "tune", image_folder, "--range", "--out", tmp_path, *_TINY, "--json")
    assert (tmp_path / "range.png").exists()
    assert said["plot"] == str(tmp_path / "range.png")
    assert said["fastest_batch_size"] == 32
    assert said["suggested_lr"] > 0
    assert len(said["rates"]) == len(said["losses"]) == len(said["updates"])
    command_line = shlex.split(said["lines"][-1])[1:]
    assert command_line[:3] == ["alexnet", "train", str(image_folder)]
    tested = call(capsys, "train", image_folder, *_TINY, "--dry-run")
    config = call(capsys, *command_line[1:], "--dry-run")
    assert config["optimizer"].pop("lr") == said["suggested_lr"]
    del tested["optimizer"]["lr"]
    assert config == tested


def test_a_range_test_that_diverges_says_so_in_json(
    image_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    diverged = judge([1e-3, 2e-3], [2.3, math.inf], [0.01, math.nan], 3)
    monkeypatch.setattr(search, "range_test", lambda bench, steps: diverged)
    monkeypatch.setattr(search, "speeds", lambda config: {16: 90.0})
    arguments = ("tune", image_folder, "--range", "--out", tmp_path, *_TINY, "--json")
    capsys.readouterr()
    assert command([str(argument) for argument in arguments]) == 0
    said = json.loads(capsys.readouterr().out, parse_constant=lambda name: 1 / 0)
    assert (said["losses"], said["updates"]) == ([2.3, None], [0.01, None])


def test_a_budget_plans_the_run_and_the_study(
    image_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (budget, search):
        monkeypatch.setattr(module, "measure_costs", lambda *things: Costs(1.0, 0.01, 0.001))
    config = call(capsys, "train", image_folder, *_TINY, "--budget", "1m", "--dry-run")
    assert config["train"]["epochs"] == int((0.92 * 60 - 8.39) / (60 / 16 + 0.3))
    error = call(capsys, "train", image_folder, "--budget", "1m", "--epochs", "2", code=2)
    assert "leave out --epochs" in error
    small = ("--epochs", "2", "--budget", "20s", "--out", tmp_path / "study")
    assert "only" in call(capsys, "tune", image_folder, *_TINY, *small, code=2)
    both = ("--trials", "3", "--budget", "20m", "--out", tmp_path / "study")
    assert "give one of them" in call(capsys, "tune", image_folder, *_TINY, *both, code=2)


def test_a_run_begins_with_another_one(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "base"
    call(capsys, "train", image_folder, "--out", base, *_TINY, "--steps", "3", "--json")
    tuned = ("--init", base, "--freeze", "conv1,conv2", "--layer-rate", "fc8=5", "--steps", "2")
    alarm = ("--set", "train.alarm=false", "--device", "cpu")
    said = call(capsys, "train", image_folder, "--out", tmp_path / "run", *tuned, *alarm, "--json")
    assert said["steps"] == 2
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["recipe"] == "finetune"
    assert ["conv2", 1, 0.0] in config["optimizer"]["layer_rates"]
    assert ["fc8", 1, 5.0] in config["optimizer"]["layer_rates"]
    error = call(capsys, "train", "--resume", tmp_path / "run", "--init", base, code=2)
    assert "--resume continues" in error


def test_what_is_no_study_is_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], image_folder: Path
) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    error = call(capsys, "tune", image_folder, "--out", tmp_path, code=2)
    assert "is no study" in error
    for place in (tmp_path / "letter.txt", tmp_path / "letter.txt" / "study"):
        for how in ((), ("--range",)):
            error = call(capsys, "tune", image_folder, *_TINY, *how, "--out", place, code=2)
            assert "letter.txt" in error
            assert "name another place" in error


def test_a_search_says_what_cannot_be_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], image_folder: Path
) -> None:
    few = ("--epochs", "1", "--trials", "2", "--storage", "folder", "--out", tmp_path / "study")
    error = call(capsys, "tune", image_folder, "--set", "train.steps=3", *few, code=2)
    assert "--set train.steps=null" in error
    hopeless = ("--lr", "1e9", "--set", "train.alarm=true")
    error = call(capsys, "tune", image_folder, *_TINY, *hopeless, *few, code=2)
    assert (
        "All 2 trials failed, the first because training stopped at step 4: the loss is not"
        in error
    )
    assert "study.html" in error


def test_the_built_in_importance_finds_what_decides() -> None:
    space = (Range("optimizer.lr", 0, 1), Range("model.dropout", 0, 1))
    points = [{"optimizer.lr": i / 29, "model.dropout": (7 * i % 30) / 29} for i in range(30)]
    shares = explained(points, [abs(p["optimizer.lr"] - 0.1) for p in points], space)
    assert shares["optimizer.lr"] > 0.7
    assert shares["model.dropout"] < 0.1


def test_helpers_see_one_signal_and_leave_their_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a session of their own, Ctrl-C at the terminal does not come to them a second time."""
    program = tmp_path / "program"
    program.write_text(
        "#!/bin/sh\necho $$ $(cut -d' ' -f6 /proc/$$/stat) $OMP_NUM_THREADS $ALEXNET_HELPS >&2\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert search._helper(tmp_path, 1, threads=3).wait() == 0
    number, session, threads, helped = (tmp_path / "worker-1.log").read_text().split()
    assert number == session
    assert threads == "3"
    assert helped == str(os.getpid())  # with which it ends


def test_a_budget_counts_devices_and_full_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers on the processor share its cores: two do not do twice as much."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [devices_for(workers, "auto") for workers in (1, 2, 5)] == [1, 2, 2]
    assert devices_for(4, "cpu") == 1
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert devices_for(4, "auto") == 1
    monkeypatch.setattr(search, "measure_costs", lambda *things: Costs(1.0, 0.0, 0.0))
    monkeypatch.setattr(search, "monotonic", lambda: 0.0)  # measuring takes no time
    config = override(Config(), ["train.epochs=9", "train.batch_size=2000"])
    source = open_source(config.data.source)
    assert search.trials_within(config, source, (9,), 100.0) == 9  # of 9 steps and a half second
    assert search.trials_within(config, source, (9,), 1e12) == 10_000  # and does not count up to it
    monkeypatch.setattr(search, "_VISIT_SECONDS", 0.0)
    assert search.trials_within(config, source, (9,), 100.0) == 10
    assert search.trials_within(config, source, (1, 3, 9), 100.0) > 20
    # The three trials of each nine that go on and the one that ends are evaluated again.
    costs = Costs(0.0, 1.0, 0.0)
    monkeypatch.setattr(search, "measure_costs", lambda *things: costs)
    seconds = 13.1 * len(source.validation) / 0.9
    assert search.trials_within(config, source, (0.1, 0.3, 1), seconds) == 9
