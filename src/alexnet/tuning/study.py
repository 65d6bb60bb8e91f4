"""A study: its folder, the workers that share it, and what each of them does.

A worker holds two locks of the operating system, which end with the process however it ends: the
study's for the moment in which it takes or reports a job, a trial's for as long as it trains it. A
trial that is neither finished nor locked has lost its worker, and the next one goes on from the
trial's last checkpoint.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from alexnet.config import Config, from_json
from alexnet.errors import InterruptedRunError, UserError
from alexnet.files import write_text
from alexnet.progress import say
from alexnet.training.checkpoint import checkpoints
from alexnet.training.data import Data
from alexnet.tuning.halving import Job, Plan, Score, Trial, best, hopeless, next_job, rungs_of
from alexnet.tuning.ledger import FolderLedger, Ledger, trial_folder
from alexnet.tuning.space import Space, assignments, configured, point_of, space_around
from alexnet.tuning.trial import advance, scores_so_far

_WAIT_SECONDS = 1.0
_FAILED = Score(1.0, 1e9)  # the last of all ranks


@dataclass(frozen=True)
class Study:
    """What a study is; written once, the same for every worker.

    Attributes:
        folder: where it lives.
        config: what is searched around, and the first trial.
        plan: how many trials, and how far.
        seed: of the points that are tried.
        storage: "folder", or a URL or "journal" of Optuna.
    """

    folder: Path
    config: Config
    plan: Plan
    seed: int
    storage: str

    @property
    def space(self) -> Space:
        """What is searched."""
        return space_around(self.config)

    def ledger(self) -> Ledger:
        """Where the trials are written down."""
        if self.storage == "folder":
            return FolderLedger(self.folder, self.space, self.seed)
        from alexnet.tuning.optuna_ledger import OptunaLedger

        return OptunaLedger(self.folder, self.storage, self.space, self.seed, self.plan)


def create_study(
    folder: Path,
    config: Config,
    trials: int,
    seed: int = 0,
    storage: str = "auto",
    full: bool = False,
) -> Study:
    """Make the study's folder; one that is there already is opened (`open_study`).

    Args:
        folder: of the study.
        config: what to search around.
        trials: how many points to try.
        seed: of the points.
        storage: "auto" is Optuna's journal in the folder where Optuna is installed, else "folder";
            any URL that Optuna knows, such as sqlite:///study.db or postgresql://HOST/NAME.
        full: train every trial to the end.

    Raises:
        UserError: the folder is something else.
    """
    if (folder / "study.json").exists():
        return open_study(folder)
    if folder.exists() and any(path.name != "lock" for path in folder.iterdir()):
        raise UserError(f"{folder} exists already and is no study; choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    if storage == "auto":
        storage = "journal" if has_optuna() else "folder"
    with lock(folder / "lock"):
        if not (folder / "study.json").exists():  # another worker may have been faster
            epochs = config.train.epochs
            plan = Plan(trials, (epochs,) if full else rungs_of(epochs))
            document = {
                "config": json.loads(config.to_json()),
                "trials": plan.trials,
                "rungs": plan.rungs,
                "keep": plan.keep,
                "seed": seed,
                "storage": storage,
            }
            write_text(folder / "study.json", json.dumps(document, indent=1) + "\n")
    return open_study(folder)


def open_study(folder: Path) -> Study:
    """The study in a folder.

    Raises:
        UserError: there is none.
    """
    try:
        document = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        plan = Plan(document["trials"], tuple(document["rungs"]), document["keep"])
        config = from_json(json.dumps(document["config"]))
        return Study(folder, config, plan, document["seed"], document["storage"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} is no study that can be read: {error}") from None


def has_optuna() -> bool:
    """Whether the extra `tune` is installed."""
    from importlib.util import find_spec

    return find_spec("optuna") is not None


def work(study: Study) -> list[Trial]:
    """Take jobs and do them until the study is done; any number of processes may do so at once.

    Raises:
        InterruptedRunError: asked to stop; the trial at hand is saved.
        UserError: the data cannot be used.
    """
    ledger, data = study.ledger(), None
    while True:
        with ExitStack() as claim:
            job = _take(study, ledger, claim)
            if job.kind == "done":
                break
            if job.trial is None:
                time.sleep(_WAIT_SECONDS)
                continue
            data = _train(study, ledger, job.trial, data)
    with lock(study.folder / "lock"):
        ledger.close()
        return ledger.trials()


def _take(study: Study, ledger: Ledger, claim: ExitStack) -> Job:
    """Choose a job and lock its trial for as long as `claim` is open."""
    with lock(study.folder / "lock"):
        trials = ledger.trials()
        free: dict[int, ExitStack] = {}
        for trial in trials:
            if not hopeless(trials, trial, study.plan):
                held = ExitStack()
                if _claim(study, trial.number, held):
                    free[trial.number] = held
        busy = [trial.number for trial in trials if trial.number not in free]
        job = next_job(trials, busy, study.plan)
        if job.kind == "new":
            trial = ledger.new(point_of(study.space, study.config))
            if trial.number >= study.plan.trials:  # a worker without this lock was faster
                job = Job("wait")
            else:
                free[trial.number] = ExitStack()
                _claim(study, trial.number, free[trial.number])
                job = Job("train", trial)
        elif job.kind == "promote" and job.trial:
            job = Job("train", ledger.set_target(job.trial, job.trial.target + 1))
        for number, held in free.items():
            if job.trial and number == job.trial.number:
                claim.push(held)
            else:
                held.close()
        return job


def _claim(study: Study, number: int, held: ExitStack) -> bool:
    folder = trial_folder(study.folder, number)
    folder.mkdir(parents=True, exist_ok=True)
    file: TextIO = held.enter_context((folder / "claim").open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        return False
    return True


def _train(study: Study, ledger: Ledger, trial: Trial, data: Data | None) -> Data | None:
    """Take a trial to its target and report it there."""
    began = time.monotonic()
    run = trial_folder(study.folder, trial.number) / "run"
    epochs = study.plan.rungs[trial.target]
    failure = None
    try:
        data = advance(run, configured(study.config, trial.point), epochs, data)
        score = scores_so_far(run, epochs)
    except InterruptedRunError:
        raise InterruptedRunError(
            f"stopped in trial {trial.number}, saved; go on with: alexnet tune --out {study.folder}"
        ) from None
    except UserError as error:
        if data is None and not (run / "metrics.jsonl").exists():
            raise  # the data, not the trial
        failure, score = str(error), _FAILED
    with lock(study.folder / "lock"):
        ledger.report(trial, trial.target, score, failure)
        trials = ledger.trials()
        for other in trials:
            if hopeless(trials, other, study.plan):
                _forget(study, other, keep_weights=other == best(trials))
        _write_history(study, trial, time.monotonic() - began)
    word = failure or f"top-1 error {score.error:.2%}"
    say(f"trial {trial.number} at epoch {epochs}: {word}; {' '.join(assignments(trial.point))}")
    say(progress(study, trials))
    return data


def _write_history(study: Study, trial: Trial, seconds: float) -> None:
    """Who did what: one line for each rung that a trial has reached."""
    line = {"trial": trial.number, "rung": trial.target, "process": os.getpid(), "seconds": seconds}
    with (study.folder / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _forget(study: Study, trial: Trial, keep_weights: bool) -> None:
    """Delete the large files of a trial that will not go on; who is better has gone on already."""
    run = trial_folder(study.folder, trial.number) / "run"
    finished_best = keep_weights and len(study.plan.rungs) - 1 in trial.scores
    for path in checkpoints(run / "checkpoints"):
        path.unlink(missing_ok=True)
    if not finished_best:
        (run / "weights.safetensors").unlink(missing_ok=True)


def progress(study: Study, trials: list[Trial]) -> str:
    """How far the study is, and the best so far, in a line."""
    done = sum(study.plan.rungs[max(trial.scores)] for trial in trials if trial.scores)
    line = f"tuning: {done} of {study.plan.epochs()} epochs, {len(trials)} trials begun"
    leader = best(trials)
    if leader is None:
        return line
    rung = max(leader.scores)
    return (
        f"{line}; best so far {leader.scores[rung].error:.2%} after {study.plan.rungs[rung]} of "
        f"{study.plan.rungs[-1]} epochs (trial {leader.number})"
    )


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock of the operating system, which ends with the process however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
