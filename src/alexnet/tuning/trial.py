"""A trial is a run like any other, taken on a few epochs at a time."""

import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alexnet.config import Config
from alexnet.errors import DamagedRunError, UserError
from alexnet.parallel.world import make_world
from alexnet.progress import say
from alexnet.rows import read_rows
from alexnet.training.checkpoint import checkpoints
from alexnet.training.data import Data, load_data
from alexnet.training.directory import create_run
from alexnet.training.run import take_on
from alexnet.tuning.halving import Score


def open_images(config: Config) -> Data:
    """The images of a study, decoded once for all trials of a worker.

    Raises:
        UserError: they cannot be used.
    """
    return load_data(config, make_world(config.train.device, config.train.precision))


def advance(run: Path, config: Config, epochs: float, data: Data) -> None:
    """Train a run until so many epochs are done, from wherever it is.

    Args:
        run: its directory; made if it is not there.
        config: of the whole training: its schedule does not know of the pause.
        epochs: where to pause, or to end.
        data: its images.

    Raises:
        InterruptedRunError: asked to stop; the state is saved.
        CannotLearnError: it cannot.
        UserError: the data cannot be used, or the state cannot be saved.
    """
    if not (run / "config.json").exists():
        create_run(config, run)
    try:
        take_on(run, epochs, data)
    except DamagedRunError:
        say(f"nothing that was saved in {run} can be read; it begins anew")
        shutil.rmtree(run)
        create_run(config, run)
        take_on(run, epochs, data)
    for older in checkpoints(run / "checkpoints")[:-1]:
        older.unlink()  # a paused trial needs one; there may be many trials


def scores_so_far(run: Path, epochs: float = math.inf) -> Score:
    """The best validation error so far, or of the first so many epochs, and its loss.

    The weights that a run gives its user are those of its best evaluation. What was measured at a
    pause within an epoch counts only where it is the last: a run without the pause has none of it.

    Raises:
        UserError: the run was not evaluated by then.
    """
    log = read_rows(run / "metrics.jsonl")
    evaluated = [row for row in evaluations(log) if row["epoch"] <= epochs + 1e-9]
    rows = [row for row in evaluated if row["split"] == "val" or row is evaluated[-1]]
    if not rows:
        raise UserError(f"{run} was not evaluated by then")
    scores = [(row["top1_error"], 1e9 if row["loss"] is None else row["loss"]) for row in rows]
    return Score(*min(scores))


def evaluations(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of validation errors, those at the pauses of a search among them."""
    return [row for row in rows if row["split"] in ("val", "pause")]
