"""What `alexnet tune` does: make or join a study, work on it, and say what won."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet.config import Config
from alexnet.data.sources import open_source
from alexnet.errors import UserError
from alexnet.parallel.devices import visible_device
from alexnet.parallel.world import make_world
from alexnet.progress import say
from alexnet.training.choices import resolve_config
from alexnet.training.data import load_data
from alexnet.tuning.batch_size import fastest, speeds
from alexnet.tuning.budget import measure_costs, read_duration
from alexnet.tuning.halving import Plan, best, rungs_of
from alexnet.tuning.page import command_line, importance, verdict, write_page
from alexnet.tuning.range_test import range_test, save_plot
from alexnet.tuning.setup import new_bench
from alexnet.tuning.study import create_study, open_study, work

_TRIALS = 30
_FEWEST = 4
_MARGIN = 0.9


def search(
    data: str | None,
    recipe: str | None,
    assignments: Sequence[str],
    init: str | None,
    out: Path | None,
    trials: int | None,
    budget: str | None,
    workers: int,
    storage: str = "auto",
    full: bool = False,
) -> dict[str, Any]:
    """Make the study, or go on with the one that is in `out`, until it is done.

    Args:
        data, recipe, assignments, init: as for `training.run.train`: what to search around.
        out: the study's folder; by default studies/NAME.
        trials: points to try, 30 by default.
        budget: a time such as "2h" instead of the number of trials.
        workers: processes that share the work on this machine.
        storage: as for `create_study`.
        full: train every trial to the end, without halving.

    Returns:
        The JSON document of `alexnet tune`.

    Raises:
        UserError: something the user can mend.
        InterruptedRunError: asked to stop; the same command goes on.
    """
    if out is not None and (out / "study.json").exists():
        study = open_study(out)
        say(f"going on with the study {out}: {study.plan.trials} trials")
    else:
        config = resolve_config(data, recipe, assignments, None, init)
        out = out or Path("studies") / Path(config.data.source).name
        if trials is not None and budget is not None:
            raise UserError("--trials and --budget both say how much to try; give one of them")
        if budget is not None:
            trials = trials_within(config, read_duration(budget) * workers)
        study = create_study(out, config, trials or _TRIALS, config.train.seed, storage, full)
        say(
            f"{study.plan.trials} trials of {config.train.epochs} epochs, compared after "
            f"{', '.join(map(str, study.plan.rungs))}: {study.plan.share():.0%} of the work of "
            "training them all"
        )
    helpers = [_helper(out, number) for number in range(1, workers)]
    try:
        found = work(study)
    except BaseException:
        for helper in helpers:
            helper.terminate()  # they save what they are at, as after Ctrl-C
        raise
    finally:
        for helper in helpers:
            helper.wait()
    page = write_page(study, found)
    winner = best(found)
    command = command_line(study, winner) if winner else None
    shares, _ = importance(found, study.space)
    return {
        "study": str(out),
        "trials": len(found),
        "epochs": study.plan.epochs(),
        "share_of_full_training": study.plan.share(),
        "best": None
        if winner is None
        else {
            "trial": winner.number,
            "top1_error": winner.scores[max(winner.scores)].error,
            "settings": winner.point,
        },
        "importance": shares,
        "command": command,
        "page": str(page),
        "lines": [verdict(study, found), f"  page     {page}", f"  command  {command}"],
    }


def trials_within(config: Config, seconds: float) -> int:
    """How many trials end within a time, measured here.

    Raises:
        UserError: fewer than four do.
    """
    source = open_source(config.data.source, validation_fraction=config.data.validation_fraction)
    costs = measure_costs(config, source)
    steps = -(-len(source.train) // config.train.batch_size)
    epoch = steps * costs.step + len(source.validation) * costs.validation_image
    rungs = rungs_of(config.train.epochs)
    count = 0
    while Plan(count + 1, rungs).epochs() * epoch <= _MARGIN * seconds:
        count += 1
    if count < _FEWEST:
        raise UserError(
            f"only {count} trials of {config.train.epochs} epochs of {epoch:.0f} s fit into the "
            "budget; give more time, fewer --epochs or a smaller model.image_size"
        )
    return count


def find_range(
    data: str | None,
    recipe: str | None,
    assignments: Sequence[str],
    init: str | None,
    out: Path | None,
) -> dict[str, Any]:
    """The rate range test and the speed of batch sizes; arguments as for `search`.

    Returns:
        {"suggested_lr", "breaks_at", "reason", "rates", "losses", "updates", "plot",
        "images_per_second", "fastest_batch_size", "lines"}.
    """
    config = resolve_config(data, recipe, assignments, None, init)
    world = make_world(config.train.device, config.train.precision)
    bench = new_bench(config, world, load_data(config, world))
    test = range_test(bench)
    folder = out or Path("studies") / f"{Path(config.data.source).name}-range"
    folder.mkdir(parents=True, exist_ok=True)
    save_plot(test, folder / "range.png")
    del bench
    measured = speeds(config)
    quickest = fastest(measured)
    table = ", ".join(f"{size}: {speed:.0f}" for size, speed in measured.items())
    return {
        "suggested_lr": test.suggested,
        "breaks_at": test.breaks_at,
        "reason": test.reason,
        "rates": test.rates,
        "losses": test.losses,
        "updates": test.updates,
        "plot": str(folder / "range.png"),
        "images_per_second": {str(size): speed for size, speed in measured.items()},
        "fastest_batch_size": quickest,
        "lines": [
            f"rate {test.suggested:g} for batches of {config.train.batch_size}: {test.reason}",
            f"  images/s by batch size  {table}; {quickest} is the smallest near the fastest",
            f"  plot     {folder / 'range.png'}",
            f"  train    alexnet train {data or 'digits'} --lr {test.suggested:g}",
        ],
    }


def _helper(out: Path, number: int) -> "subprocess.Popen[bytes]":
    """Another process on the same study, on a CUDA device of its own where there are several."""
    command = [sys.executable, "-m", "alexnet", "tune", "--out", str(out), "--json"]
    environment = dict(os.environ)
    if device := visible_device(number):
        environment["CUDA_VISIBLE_DEVICES"] = device
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)
