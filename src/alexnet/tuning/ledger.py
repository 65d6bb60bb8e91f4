"""Where a study keeps its trials: a folder of small files, or (`optuna_ledger`) Optuna's storage.

Every call is made under the study's lock, so that a ledger need not know of other processes on the
same folder.
"""

import json
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from alexnet.errors import UserError
from alexnet.files import write_text
from alexnet.tuning.halving import Score, Trial
from alexnet.tuning.space import Space, random_point


class Ledger(Protocol):
    """The trials of a study."""

    def trials(self) -> list[Trial]:
        """All of them, by number."""

    def new(self, first: dict[str, Any]) -> Trial:
        """Make a trial; the very first is at the point `first`."""

    def set_target(self, trial: Trial, rung: int) -> Trial:
        """A trial is to go on to a rung."""

    def report(self, trial: Trial, rung: int, score: Score, failure: str | None = None) -> Trial:
        """A trial has reached a rung, or cannot go on; reporting twice changes nothing."""

    def close(self) -> None:
        """No trial will go on any more."""


class FolderLedger:
    """One file a trial, `trials/0007/trial.json`; points are drawn at random.

    Args:
        folder: of the study.
        space: to search.
        seed: of the points.
    """

    def __init__(self, folder: Path, space: Space, seed: int) -> None:
        self._folder = folder
        self._space = space
        self._seed = seed

    def trials(self) -> list[Trial]:
        """As `Ledger.trials`."""
        return [_read(path) for path in sorted(self._folder.glob("trials/*/trial.json"))]

    def new(self, first: dict[str, Any]) -> Trial:
        """As `Ledger.new`."""
        known = {trial.number for trial in self.trials()}
        number = next(number for number in count() if number not in known)  # some may be deleted
        return self._write(
            Trial(number, random_point(self._space, self._seed, number) if number else first)
        )

    def set_target(self, trial: Trial, rung: int) -> Trial:
        """As `Ledger.set_target`."""
        return self._write(replace(self._now(trial), target=rung))

    def report(self, trial: Trial, rung: int, score: Score, failure: str | None = None) -> Trial:
        """As `Ledger.report`."""
        now = self._now(trial)
        return self._write(replace(now, scores={**now.scores, rung: score}, failure=failure))

    def close(self) -> None:
        """As `Ledger.close`."""

    def _now(self, trial: Trial) -> Trial:
        return _read(trial_folder(self._folder, trial.number) / "trial.json")

    def _write(self, trial: Trial) -> Trial:
        folder = trial_folder(self._folder, trial.number)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "trial.json", json.dumps(asdict(trial), indent=1) + "\n")
        return trial


def trial_folder(study: Path, number: int) -> Path:
    """Where a trial lives."""
    return study / "trials" / f"{number:04d}"


def _read(path: Path) -> Trial:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        scores = {int(rung): Score(**score) for rung, score in document.pop("scores").items()}
        return Trial(**document, scores=scores)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); delete its folder to try again"
        ) from None
