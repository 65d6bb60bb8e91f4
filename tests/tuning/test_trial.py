"""What a trial is compared by."""

import json
from pathlib import Path

import pytest

from alexnet.config import Config, read_config
from alexnet.errors import UserError
from alexnet.training.checkpoint import load_checkpoint
from alexnet.tuning import trial
from alexnet.tuning.halving import Score
from alexnet.tuning.trial import scores_so_far


def test_a_pause_within_an_epoch_counts_while_the_trial_stands_there(tmp_path: Path) -> None:
    """After it the trial has what a run without the pause has."""
    rows = [(0.1, "train", 0.0), (0.1, "pause", 0.3), (0.3, "pause", 0.4), (1.0, "val", 0.6)]
    rows += [(2.0, "val", 0.5), (2.5, "train", 0.1), (3.0, "val", 0.55)]
    expected = [None, 0.3, 0.4, 0.6, 0.5, 0.5, 0.5]
    log = tmp_path / "metrics.jsonl"
    with log.open("w") as file:
        for (epoch, split, error), score in zip(rows, expected, strict=True):
            row = {"epoch": epoch, "split": split, "top1_error": error, "loss": 2.0 * error}
            file.write(json.dumps(row) + "\n")
            file.flush()
            if score is None:
                with pytest.raises(UserError, match="not evaluated"):
                    scores_so_far(tmp_path)
            else:
                assert scores_so_far(tmp_path) == Score(score, 2.0 * score)
    assert scores_so_far(tmp_path, 1 / 3) == Score(0.4, 0.8)
    assert scores_so_far(tmp_path, 1) == Score(0.6, 1.2)


def test_a_trial_whose_checkpoints_are_damaged_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    attempts: list[bool] = []

    def take_on(run: Path, epochs: float, data: object) -> object:
        attempts.append((run / "checkpoints").exists())
        if attempts == [True]:
            load_checkpoint(run / "checkpoints")
        return data

    monkeypatch.setattr(trial, "take_on", take_on)
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "step-00000007.safetensors").write_bytes(b"half")
    (run / "config.json").write_text(Config().to_json())
    trial.advance(run, Config(), 1, None)  # type: ignore[arg-type]
    assert attempts == [True, False]
    assert read_config(run / "config.json") == Config()


def test_a_trial_begins_where_another_worker_was_killed_beginning_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".config.json.0123.part").write_text('{"half')
    monkeypatch.setattr(trial, "take_on", lambda run, epochs, data: data)
    trial.advance(tmp_path, Config(), 1, None)  # type: ignore[arg-type]
    assert read_config(tmp_path / "config.json") == Config()
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
