"""What `alexnet tune` does: make or join a study, work on it, and say what won."""

import bisect
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from alexnet.commands import quoted_command
from alexnet.config import Config, key_of
from alexnet.data.sources import Source, open_source
from alexnet.errors import UserError
from alexnet.parallel.devices import devices_for, visible_device
from alexnet.parallel.world import make_world
from alexnet.process import end_with, threads_each
from alexnet.progress import say, shown_epochs
from alexnet.rows import finite
from alexnet.training.choices import images_apart, resolve_config, start_apart
from alexnet.training.data import load_data
from alexnet.training.directory import check_apart
from alexnet.training.loop import total_steps
from alexnet.tuning.batch_size import fastest, speeds
from alexnet.tuning.budget import (
    epoch_seconds,
    full_steps,
    measure_costs,
    read_duration,
    steps_per_epoch,
)
from alexnet.tuning.halving import Plan, Rungs, best, rungs_of
from alexnet.tuning.joining import Asked, check_asked
from alexnet.tuning.page import command_line, importance, share_of_full, verdict, write_page
from alexnet.tuning.range_test import RangeTest, range_test, save_plot, sweep_steps
from alexnet.tuning.setup import new_bench
from alexnet.tuning.study import Study, create_study, epochs_trained, open_study, work

_TRIALS = 30
_FEWEST = 4
_MOST = 10_000  # trials that a budget is planned for
_MARGIN = 0.9
_VISIT_SECONDS = 0.5  # building the network, saving and noting, each time a trial is taken on
_PARENT = "ALEXNET_HELPS"  # in a helper's environment: the process that it helps


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
        UserError: something the user can mend, such as another study in `out`.
        InterruptedRunError: asked to stop; the same command goes on.
    """
    if os.environ.get(_PARENT) == str(os.getppid()):
        end_with(os.getppid(), signal.SIGTERM)
    data, assignments = images_apart(data, assignments)
    init, assignments = start_apart(init, assignments)
    asked = Asked(data, recipe, assignments, init, trials, budget, storage, full)
    study = _study(asked, out, workers)
    out = study.folder
    threads = threads_each(workers)
    helpers = [_helper(out, number, threads) for number in range(1, workers)]
    if helpers and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads)
    try:
        found = work(study)
    except BaseException:
        for helper in helpers:
            helper.terminate()  # the first signal that they see: they save what they are at
        raise
    finally:
        for helper in helpers:
            helper.wait()
    page = write_page(study, found)
    winner = best(found)
    if winner is None:
        raise UserError(f"{verdict(study, found)}; all of them are in {page}")
    command = command_line(study, winner)
    shares, _ = importance(found, study.space)
    return {
        "study": str(out),
        "trials": len(found),
        "epochs": epochs_trained(study, found),
        "share_of_full_training": share_of_full(study, found),
        "best": {
            "trial": winner.number,
            "top1_error": winner.scores[max(winner.scores)].error,
            "settings": winner.point,
        },
        "importance": shares,
        "command": command,
        "page": str(page),
        "lines": [verdict(study, found), f"  page     {page}", f"  command  {command}"],
    }


def _study(asked: Asked, out: Path | None, workers: int) -> Study:
    """The study in `out` if it is there, else a new one; in either case the one asked for."""
    if asked.trials is not None and asked.budget is not None:
        raise UserError("--trials and --budget both say how much to try; give one of them")
    if out is not None and (out / "study.json").exists():
        return _existing(out, asked)
    config = resolve_config(asked.data, asked.recipe, asked.assignments, None, asked.init)
    out = out or Path("studies") / Path(config.data.source).name
    there = (out / "study.json").exists()
    return _existing(out, asked) if there else _new(out, config, asked, workers)


def _existing(out: Path, asked: Asked) -> Study:
    study = open_study(out)
    check_asked(study, asked)
    say(f"going on with the study {out}: {study.plan.trials} trials")
    return study


def _new(out: Path, config: Config, asked: Asked, workers: int) -> Study:
    if config.train.steps is not None:
        raise UserError(
            f"a search compares trials after epochs, and train.steps={config.train.steps} would end"
            " all of them before: use --set train.steps=null, and --epochs for a short search"
        )
    check_apart(config.data.source, out)
    source = open_source(config.data.source, validation_fraction=config.data.validation_fraction)
    epochs = config.train.epochs
    rungs = (
        (epochs,) if asked.full else rungs_of(epochs, steps_per_epoch(config, len(source.train)))
    )
    trials = asked.trials or _TRIALS
    if asked.budget is not None:
        seconds = read_duration(asked.budget) * devices_for(workers, config.train.device)
        trials = trials_within(config, source, rungs, seconds)
    study = create_study(
        out,
        config,
        Plan(trials, rungs),
        config.train.seed,
        asked.storage,
        fixed=asked.keys,
        budget=asked.budget,
    )
    check_asked(study, asked)  # another worker may have made it in the meantime
    say(_announcement(study.plan))
    return study


def _announcement(plan: Plan) -> str:
    *places, epochs = map(shown_epochs, plan.rungs)
    if not places:
        return f"{plan.trials} trials of {epochs} epochs, all trained to the end"
    return (
        f"{plan.trials} trials of {epochs} epochs, compared after {', '.join(places)}: "
        f"{plan.share():.0%} of the work of training them all"
    )


def trials_within(config: Config, source: Source, rungs: Rungs, seconds: float) -> int:
    """How many trials end within a time on one device, measured here.

    Args:
        config: what is searched around.
        source: its images.
        rungs: epochs after which trials are compared, the last at the end.
        seconds: the time.

    Raises:
        UserError: fewer than four do.
    """
    began = monotonic()
    costs = measure_costs(config, source)
    left = seconds - (monotonic() - began)
    steps = full_steps(config, len(source.train))
    evaluation = len(source.validation) * costs.validation_image
    reading = (len(source.train) + len(source.validation)) * costs.decoding

    def duration(trials: int) -> float:
        plan = Plan(trials, rungs)
        visits = sum(map(plan.places, range(len(rungs)))) * _VISIT_SECONDS
        training = plan.epochs() * steps * costs.step
        return reading + visits + training + plan.evaluations() * evaluation

    count = bisect.bisect(range(1, _MOST + 1), _MARGIN * left, key=duration)
    if count < _FEWEST:
        raise UserError(
            f"only {count} trials of {config.train.epochs} epochs of "
            f"{epoch_seconds(config, costs, source):.0f} s fit into the budget; give more time, "
            "fewer --epochs or a smaller model.image_size"
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
    folder = out or Path("studies") / f"{Path(config.data.source).name}-range"
    check_apart(config.data.source, folder)
    folder.mkdir(parents=True, exist_ok=True)  # an error comes before the work
    world = make_world(config.train.device, config.train.precision)
    bench = new_bench(config, world, load_data(config, world))
    test = range_test(bench, sweep_steps(total_steps(config, bench.feed.steps_per_epoch)))
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
        "losses": finite(test.losses),
        "updates": finite(test.updates),
        "plot": str(folder / "range.png"),
        "images_per_second": {str(size): speed for size, speed in measured.items()},
        "fastest_batch_size": quickest,
        "lines": [
            f"rate {test.suggested:g} for batches of {config.train.batch_size}: {test.reason}",
            f"  images/s by batch size  {table}; {quickest} is the smallest near the fastest",
            f"  plot     {folder / 'range.png'}",
            f"  train    {_command_with_rate(data, recipe, assignments, init, config, test)}",
        ],
    }


def _command_with_rate(
    data: str | None,
    recipe: str | None,
    assignments: Sequence[str],
    init: str | None,
    config: Config,
    test: RangeTest,
) -> str:
    """The training that was tested, at the rate that was found for its batches."""
    given = [*([data] if data else []), *(["--recipe", recipe] if recipe else [])]
    given += ["--init", init] if init else []
    found = {"optimizer.lr": test.suggested, "train.batch_size": config.train.batch_size}
    kept = [entry for entry in assignments if key_of(entry) not in found]
    changes = [word for entry in kept for word in ("--set", entry)]
    rule = ["--batch-size", str(config.train.batch_size), "--lr", f"{test.suggested:g}"]
    return quoted_command("train", *given, *changes, *rule)


def _helper(out: Path, number: int, threads: int) -> "subprocess.Popen[bytes]":
    """Another process on the same study, on a CUDA device of its own where there are several.

    It has a session of its own: a Ctrl-C at the terminal comes to it once, by this process, and not
    twice, which would end it unsaved. It saves and ends when this process is killed. What it says
    is in the study's folder.
    """
    command = [sys.executable, "-m", "alexnet", "tune", "--out", str(out), "--json"]
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ, _PARENT: str(os.getpid())}
    if device := visible_device(number):
        environment["CUDA_VISIBLE_DEVICES"] = device
    with (out / f"worker-{number}.log").open("ab") as log:
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
