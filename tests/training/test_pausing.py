"""A run that is taken on a few epochs at a time, or less, and asked to stop at the end of one."""

import signal
from pathlib import Path
from typing import Any

import pytest

from alexnet.errors import InterruptedRunError
from alexnet.rows import read_rows
from alexnet.training import run as training_run
from alexnet.training.checkpoint import load_checkpoint
from alexnet.training.choices import resolve_config
from alexnet.training.directory import create_run
from alexnet.training.run import take_on

_TINY = (
    *("model.width=0.03125", "model.image_size=48", "data.size=54", "train.alarm=false"),
    *("train.batch_size=16", "train.device=cpu", "optimizer.lr=0.002", "train.epochs=3"),
)


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_stop_during_the_validation_before_a_pause_is_obeyed(
    epochs: int, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the pause and at the end of the run, after which the search would go on."""
    run = create_run(resolve_config(str(image_folder), None, _TINY), tmp_path / "run")
    data = take_on(run, epochs - 1) if epochs > 1 else None
    evaluate = training_run.evaluate_model

    def interrupted(*arguments: Any, show_progress: bool = True) -> Any:
        if not show_progress:  # in the loop
            signal.raise_signal(signal.SIGTERM)
        return evaluate(*arguments, show_progress=show_progress)

    with monkeypatch.context() as patch:
        patch.setattr(training_run, "evaluate_model", interrupted)
        with pytest.raises(InterruptedRunError):
            take_on(run, epochs, data)
    assert (run / "result.json").exists() == (epochs == 3)
    take_on(run, epochs, data)  # nothing is left to do


def test_a_pause_anywhere_is_evaluated_and_changes_nothing(
    image_folder: Path, tmp_path: Path
) -> None:
    """Within an epoch, and after one that the user wants no evaluation of; not for a plateau."""
    hasty = (
        "train.evaluate_every_epochs=2",
        "schedule.kind=plateau",
        "schedule.patience=1",
        "train.batch_size=6",
    )
    config = resolve_config(str(image_folder), None, (*_TINY, *hasty))
    whole, paused = (create_run(config, tmp_path / name) for name in ("whole", "paused"))
    data = take_on(whole, 3)
    for epochs in (0.01, 1 / 3, 1, 3):
        take_on(paused, epochs, data)
    steps = load_checkpoint(whole / "checkpoints")[0].step // 3
    assert [row["step"] for row in evaluations(paused, "pause")] == [1, steps // 3, steps]
    assert evaluations(whole, "pause") == []
    assert evaluations(paused, "val") == evaluations(whole, "val")
    assert [row["step"] for row in evaluations(whole, "val")] == [2 * steps, 3 * steps]
    (one, weights), (other, same) = (load_checkpoint(r / "checkpoints") for r in (whole, paused))
    assert one.validation_errors == other.validation_errors
    assert weights.keys() == same.keys()
    assert all(weights[name].equal(same[name]) for name in weights if name != "sums")
    assert one.best_error == other.best_error


def evaluations(run: Path, split: str) -> list[dict[str, Any]]:
    return [row for row in read_rows(run / "metrics.jsonl") if row["split"] == split]
