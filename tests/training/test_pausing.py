"""A run that is taken on a few epochs at a time, and asked to stop at the end of one."""

import signal
from pathlib import Path
from typing import Any

import pytest

from alexnet.errors import InterruptedRunError
from alexnet.training import run as training_run
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
