"""Doing the runs of a claim, one or several at once, and going on after any interruption."""

import hashlib
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from alexnet.claims.claim import Claim, Measured, Run, Setting, Values
from alexnet.config import Config
from alexnet.errors import InterruptedRunError, UserError
from alexnet.files import read_json, write_text
from alexnet.parallel.devices import visible_device
from alexnet.process import end_with, threads_each
from alexnet.progress import say
from alexnet.training.directory import create_run
from alexnet.training.run import resume

_CONTEXT = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
_DONE, _USER_ERROR, _INTERRUPTED = 0, 2, 130

Folder = Path
Report = Callable[[Measured, Sequence[Run]], None]


def work(claim: Claim, setting: Setting, folder: Folder, jobs: int, report: Report) -> Measured:
    """Do every run that the claim plans and that is not measured yet.

    Args:
        claim: what to do.
        setting: scale and data.
        folder: holds a directory for each run, shared by all claims.
        jobs: runs at once, each in a process of its own; 1: in this process.
        report: called with all that is known and the runs it is known from, at the start and after
            every run.

    Raises:
        InterruptedRunError: asked to stop; every run is saved, the same command continues.
        UserError: a run cannot be done.
    """
    known: dict[tuple[str, int], Values] = {}
    measured: list[Run] = []  # those that have looked for a rate are not planned any more
    with _Processes(folder, jobs) as processes:
        while True:
            missing = [run for run in claim.plan(setting, known) if run.key not in known]
            read = {run.key: values for run in missing if (values := read_values(folder, run))}
            if read:
                known |= read
                measured += [run for run in missing if run.key in read]
                continue  # what is known may change what is planned
            report(known, measured)
            if not missing:
                return known
            say(f"{claim.name}: {len(known)} runs measured, {len(missing)} planned")
            if jobs == 1:
                _complete(folder, missing[0])
            else:
                processes.keep_busy(missing)
                processes.wait_for_one()


def directory(folder: Folder, run: Run) -> Path:
    """The run's directory: its arm, seed, and whatever in the configuration is not the default."""
    digest = hashlib.sha256(json.dumps(_changes(run.config), sort_keys=True).encode()).hexdigest()
    return folder / f"{run.arm}-seed{run.seed}-{digest[:8]}"


def read_values(folder: Folder, run: Run) -> Values | None:
    """What was measured of a run, None where it is not done."""
    path = _note(folder, run)
    if not path.exists():
        return None
    values: Values = read_json(path)
    return values


def read_all(folder: Path, runs: Iterable[Run], name: str) -> list[dict[str, Any]]:
    """A file such as "environment.json" of every run that has it."""
    paths = [directory(folder, run) / name for run in runs]
    return [read_json(path) for path in paths if path.exists()]


def _note(folder: Folder, run: Run) -> Path:
    measure: Any = getattr(run.measure, "func", run.measure)
    module = measure.__module__.rpartition(".")[2]
    return directory(folder, run) / f"{module}-{measure.__name__.strip('_')}.json"


def _changes(config: Config) -> dict[str, Any]:
    """The settings that differ from the defaults, by section; the data by its name alone."""
    default, given = asdict(Config()), asdict(config)
    given["data"]["source"] = Path(config.data.source).name
    changes: dict[str, Any] = {
        section: {key: value for key, value in values.items() if value != default[section][key]}
        for section, values in given.items()
        if isinstance(values, dict)
    }
    return changes


def _complete(folder: Folder, run: Run) -> None:
    """Train the run to its end, measure it and note the values."""
    place = directory(folder, run)
    if (place / "config.json").exists():
        write_text(place / "config.json", run.config.to_json())  # the data may have moved since
    else:
        create_run(run.config, place)
    enough = None if run.enough is None else _Watch(place, run.enough)
    say(f"{place.name}: begins or goes on")
    try:
        resume(place, enough)
    except InterruptedRunError:
        if enough is None or not enough():
            raise
    write_text(_note(folder, run), json.dumps(run.measure(place)) + "\n")


class _Watch:
    """Asks whether a run is done only when it has written new metrics."""

    def __init__(self, run: Path, enough: Callable[[Path], bool]) -> None:
        self._run, self._enough = run, enough
        self._seen, self._answer = -1, False

    def __call__(self) -> bool:
        path = self._run / "metrics.jsonl"
        size = path.stat().st_size if path.exists() else 0
        if size != self._seen:
            self._seen, self._answer = size, self._enough(self._run)
        return self._answer


class _Processes:
    """Up to `jobs` runs at once, each in a process with its share of the cores or a device."""

    def __init__(self, folder: Folder, jobs: int) -> None:
        self._folder, self._jobs = folder, jobs
        self._active: dict[BaseProcess, tuple[int, Run]] = {}

    def __enter__(self) -> "_Processes":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._active:  # none is left where all went well
            process.terminate()
        for process in self._active:
            process.join()

    def keep_busy(self, wanted: Sequence[Run]) -> None:
        """Start runs that are not going on, as far as there is room."""
        going_on = {run.key for _, run in self._active.values()}
        waiting = [run for run in wanted if run.key not in going_on]
        free = sorted(set(range(self._jobs)) - {slot for slot, _ in self._active.values()})
        for slot, run in zip(free, waiting, strict=False):
            process = _CONTEXT.Process(
                target=_in_process,
                args=(os.getpid(), self._folder, run, self._jobs, visible_device(slot)),
            )
            process.start()
            self._active[process] = (slot, run)

    def wait_for_one(self) -> None:
        """Until one or more have ended.

        Raises:
            InterruptedRunError, UserError: one was stopped, or cannot be done.
        """
        wait([process.sentinel for process in self._active])
        for process in [p for p in self._active if not p.is_alive()]:
            _, run = self._active.pop(process)
            process.join()
            _check(process.exitcode, run)


def _check(exit_code: int | None, run: Run) -> None:
    if exit_code == _DONE:
        return
    if exit_code == _USER_ERROR:
        raise UserError(f"the run {run.arm}, seed {run.seed}, cannot be done; its line is above")
    if exit_code == _INTERRUPTED:
        raise InterruptedRunError("stopped, saved; the same command continues")
    if exit_code is not None and exit_code < 0:
        raise UserError(
            f"the run {run.arm}, seed {run.seed}, was killed, perhaps for lack of memory; what is "
            "finished is kept: the same command with fewer --jobs goes on"
        )
    raise RuntimeError(f"the run {run.arm}, seed {run.seed}, ended with exit code {exit_code}")


def _in_process(parent: int, folder: Folder, run: Run, jobs: int, device: str | None) -> None:
    end_with(parent, signal.SIGTERM)  # else it would hold its run against the next command
    os.setpgrp()  # Ctrl-C is for the parent, which asks this process to stop once, not twice
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device  # before CUDA is first used here
    torch.set_num_threads(threads_each(jobs))
    try:
        _complete(folder, run)
    except UserError as error:
        say(f"alexnet: {error}")
        raise SystemExit(_USER_ERROR) from None
    except (InterruptedRunError, KeyboardInterrupt):
        raise SystemExit(_INTERRUPTED) from None
