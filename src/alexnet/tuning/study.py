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
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from alexnet.commands import quoted_command
from alexnet.config import Config, from_json
from alexnet.errors import CannotLearnError, InterruptedRunError, UserError
from alexnet.files import write_text
from alexnet.progress import say, shown_epochs
from alexnet.rows import RowLog, read_rows
from alexnet.training.checkpoint import checkpoints
from alexnet.training.data import Data, check_same_data
from alexnet.tuning.halving import Job, Plan, Score, Trial, best, hopeless, next_job
from alexnet.tuning.ledger import FolderLedger, Ledger, trial_folder
from alexnet.tuning.space import Space, assignments, configured, point_of, space_around
from alexnet.tuning.storage import lasting_storage, shown_storage
from alexnet.tuning.trial import advance, open_images, scores_so_far

_WAIT_SECONDS = 1.0
_FAILED = Score(1.0, 1e9)  # the last of all ranks
# By a worker that was killed while it made the study.
_LEFT_BEHIND = ("lock", "optuna.journal", ".study.json.")
_EARLIEST = {"name": "alexnet", "fixed": (), "budget": None}  # of the first studies, without these


@dataclass(frozen=True)
class Study:
    """What a study is; written once, the same for every worker.

    Attributes:
        folder: where it lives.
        config: what is searched around, and the first trial.
        plan: how many trials, and how far.
        seed: of the points that are tried.
        storage: "folder", or a URL or "journal" of Optuna.
        name: under which a storage keeps it; several studies may share one.
        fixed: keys that the user has set and that are not searched.
        budget: the time that the number of trials follows from, if it does.
    """

    folder: Path
    config: Config
    plan: Plan
    seed: int
    storage: str
    name: str
    fixed: tuple[str, ...] = ()
    budget: str | None = None

    @property
    def space(self) -> Space:
        """What is searched."""
        return space_around(self.config, self.fixed)

    def ledger(self) -> Ledger:
        """Where the trials are written down.

        Raises:
            UserError: the storage cannot be opened.
        """
        if self.storage == "folder":
            return FolderLedger(self.folder, self.space, self.seed)
        if not has_optuna():
            raise UserError(
                f"the storage {shown_storage(self.storage)} needs Optuna: pip install "
                "'alexnet[tune]', or use --storage folder"
            )
        from alexnet.tuning.optuna_ledger import OptunaLedger

        return OptunaLedger(self.folder, self.storage, self.name, self.space, self.seed, self.plan)


def create_study(
    folder: Path,
    config: Config,
    plan: Plan,
    seed: int = 0,
    storage: str = "auto",
    fixed: Collection[str] = (),
    budget: str | None = None,
) -> Study:
    """Make the study's folder; one that is there already is opened (`open_study`).

    Args:
        folder: of the study.
        config: what to search around.
        plan: how many points to try, and where they are compared.
        seed: of the points.
        storage: "auto" is Optuna's journal in the folder where Optuna is installed, else "folder";
            any URL that Optuna knows, such as sqlite:///study.db or postgresql://HOST/NAME.
        fixed: keys of the configuration that stay as they are.
        budget: the time that the plan follows from, if it does; kept to be known again.

    Raises:
        UserError: the folder is something else, or the storage cannot be opened. No study is left
            behind then.
    """
    if (folder / "study.json").exists():
        return open_study(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / "lock").exists():
        raise _no_study(folder)
    if storage == "auto":
        storage = "journal" if has_optuna() else "folder"
    name = f"alexnet-{uuid.uuid4().hex}"
    study = Study(folder, config, plan, seed, lasting_storage(storage), name, tuple(fixed), budget)
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / "lock"):
        if not (folder / "study.json").exists():  # another worker may have been faster
            if not all(path.name.startswith(_LEFT_BEHIND) for path in folder.iterdir()):
                raise _no_study(folder)
            study.ledger()
            _write(study)
    return open_study(folder)


def _no_study(folder: Path) -> UserError:
    return UserError(f"{folder} exists already and is no study; choose another --out")


def _write(study: Study) -> None:
    document = {
        "name": study.name,
        "config": json.loads(study.config.to_json()),
        "fixed": study.fixed,
        "trials": study.plan.trials,
        "budget": study.budget,
        "rungs": study.plan.rungs,
        "keep": study.plan.keep,
        "seed": study.seed,
        "storage": study.storage,
    }
    write_text(study.folder / "study.json", json.dumps(document, indent=1) + "\n")


def open_study(folder: Path) -> Study:
    """The study in a folder.

    Raises:
        UserError: there is none.
    """
    try:
        document = _EARLIEST | json.loads((folder / "study.json").read_text(encoding="utf-8"))
        plan = Plan(document["trials"], tuple(document["rungs"]), document["keep"])
        config = from_json(json.dumps(document["config"]))
        return Study(
            folder,
            config,
            plan,
            document["seed"],
            document["storage"],
            document["name"],
            tuple(document["fixed"]),
            document["budget"],
        )
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
        UserError: the data cannot be used, or the disk is full; what is saved stays, and once that
            is mended the study goes on.
    """
    with lock(study.folder / "lock"):
        ledger = study.ledger()
    data = None
    while True:
        with ExitStack() as claim:
            job = _take(study, ledger, claim)
            if job.kind == "done":
                break
            if job.trial is None:
                time.sleep(_WAIT_SECONDS)
                continue
            try:
                data = data or _images(study)
                _train(study, ledger, job.trial, data)
            except UserError as error:  # no fault of the trial's settings
                raise UserError(f"{error}; that mended, go on with: {going_on(study)}") from error
    with lock(study.folder / "lock"):
        ledger.close()
        trials = _planned(study, ledger)
    _forget(study, hopeless(trials, study.plan), best(trials))
    return trials


def _planned(study: Study, ledger: Ledger) -> list[Trial]:
    """The trials of the plan: workers that do not share this lock may have made one more."""
    return [trial for trial in ledger.trials() if trial.number < study.plan.trials]


def _take(study: Study, ledger: Ledger, claim: ExitStack) -> Job:
    """Choose a job and lock its trial for as long as `claim` is open."""
    with lock(study.folder / "lock"):
        trials = _planned(study, ledger)
        busy: set[int] = set()
        while True:
            job = next_job(trials, busy, study.plan)
            trial = (
                ledger.new(point_of(study.space, study.config)) if job.kind == "new" else job.trial
            )
            if trial is None:
                return job
            if trial.number >= study.plan.trials:  # a worker without this lock was faster
                return Job("wait")
            if not _claim(study, trial.number, claim):
                busy.add(trial.number)
                continue
            if job.kind == "promote":
                trial = ledger.set_target(trial, trial.target + 1)
            return Job("train", trial)


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


def _images(study: Study) -> Data:
    """The images, if they are those that the study began with."""
    data = open_images(study.config)
    with lock(study.folder / "lock"):
        check_same_data(study.folder, data)
    return data


def _train(study: Study, ledger: Ledger, trial: Trial, data: Data) -> None:
    """Take a trial to its target and report it there."""
    began = time.monotonic()
    run = trial_folder(study.folder, trial.number) / "run"
    epochs = study.plan.rungs[trial.target]
    failure = None
    try:
        advance(run, configured(study.config, trial.point), epochs, data)
        score = scores_so_far(run)
    except InterruptedRunError:
        raise InterruptedRunError(
            f"stopped in trial {trial.number}, saved; go on with: {going_on(study)}"
        ) from None
    except CannotLearnError as error:
        failure, score = str(error), _FAILED
    with lock(study.folder / "lock"):
        ledger.report(trial, trial.target, score, failure)
        trials = _planned(study, ledger)
        earlier = [trial if other.number == trial.number else other for other in trials]
        known = {other.number for other in hopeless(earlier, study.plan)}
        news = [other for other in hopeless(trials, study.plan) if other.number not in known]
        _forget(study, news, best(trials))
        _write_history(study, trial, time.monotonic() - began)
    by = f"by epoch {shown_epochs(epochs)}"
    word = f"failed {by}: {failure}" if failure else f"lowest top-1 error {score.error:.2%} {by}"
    say(f"trial {trial.number}: {word}; {' '.join(assignments(trial.point))}")
    say(progress(study, trials))


def going_on(study: Study) -> str:
    """The command that goes on with a study."""
    return quoted_command("tune", "--out", study.folder)


def _write_history(study: Study, trial: Trial, seconds: float) -> None:
    """Who did what: one line for each rung that a trial has reached."""
    line = {"trial": trial.number, "rung": trial.target, "process": os.getpid(), "seconds": seconds}
    RowLog(study.folder / "history.jsonl").append(line)


def _forget(study: Study, trials: Sequence[Trial], leader: Trial | None) -> None:
    """Delete the large files of trials that will not go on, but for the weights of the best."""
    for trial in trials:
        run = trial_folder(study.folder, trial.number) / "run"
        for path in checkpoints(run / "checkpoints"):
            path.unlink(missing_ok=True)
        finished_best = trial == leader and len(study.plan.rungs) - 1 in trial.scores
        if not finished_best:
            (run / "weights.safetensors").unlink(missing_ok=True)


def epochs_trained(study: Study, trials: Sequence[Trial]) -> float:
    """Epochs of training that the search has taken so far, those of failed trials among them."""
    logs = (trial_folder(study.folder, t.number) / "run" / "metrics.jsonl" for t in trials)
    return sum(float(rows[-1]["epoch"]) for log in logs if (rows := read_rows(log)))


def progress(study: Study, trials: list[Trial]) -> str:
    """How far the study is, and the best so far, in a line."""
    done, planned = shown_epochs(epochs_trained(study, trials)), shown_epochs(study.plan.epochs())
    line = f"tuning: {done} of {planned} epochs, {len(trials)} trials begun"
    leader = best(trials)
    if leader is None:
        return line
    rung = max(leader.scores)
    return (
        f"{line}; the best is trial {leader.number}: lowest top-1 error "
        f"{leader.scores[rung].error:.2%} by epoch {shown_epochs(study.plan.rungs[rung])} of "
        f"{study.plan.rungs[-1]}"
    )


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock of the operating system, which ends with the process however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
