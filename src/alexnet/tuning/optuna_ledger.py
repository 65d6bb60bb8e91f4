"""A study kept in Optuna's storage, whose points Optuna proposes (extra `tune`).

The halving stays ours: Optuna knows pruning, but no trial that pauses and may go on later. So each
trial is one of Optuna's from its first epoch to the end of the study, its scores are intermediate
values by epoch or rung, and Optuna's tools and dashboard read them as usual. To propose a point,
its sampler is shown the paused trials as pruned where they stand; otherwise it would take every
trial that waits for its promotion for a bad one.
"""

import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from alexnet.errors import UserError, in_a_line
from alexnet.tuning.halving import Plan, Score, Trial
from alexnet.tuning.space import Among, Space
from alexnet.tuning.storage import shown_storage

optuna.logging.set_verbosity(logging.WARNING)  # it tells of every study, also of those in memory
P = ParamSpec("P")
R = TypeVar("R")
_RANDOM_TRIALS = 8  # before the sampler has something to go by
_MOST_TRIALS = 100_000  # of one study, for seeds that never meet


def _answering(
    method: Callable[Concatenate["OptunaLedger", P], R],
) -> Callable[Concatenate["OptunaLedger", P], R]:
    """A method that says in a line that its storage has gone, as a restarted server does."""

    @functools.wraps(method)
    def wrapped(self: "OptunaLedger", /, *arguments: P.args, **named: P.kwargs) -> R:
        try:
            return method(self, *arguments, **named)
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError, OSError) as error:
            _cut_half_a_line(self._journal)
            said = in_a_line(error.__cause__ or error)
            raise UserError(
                f"the storage {self._shown} does not answer: {said}; what is saved stays, and once "
                "it answers the same command goes on"
            ) from error

    return wrapped


class OptunaLedger:
    """The trials of a study in an Optuna storage.

    Args:
        folder: of the study.
        storage: "journal" for a file in that folder, or a URL that Optuna knows.
        name: of the study in that storage, which may hold others.
        space: to search.
        seed: of the sampler; its proposals follow from it, the trial's number and what is known.
        plan: of the study.

    Raises:
        UserError: the storage cannot be opened.
    """

    def __init__(
        self, folder: Path, storage: str, name: str, space: Space, seed: int, plan: Plan
    ) -> None:
        self._space, self._seed, self._steps = space, seed, _steps(plan)
        self._shown = shown_storage(storage)
        # Absolute: Optuna's lock is a link to this path, and is never broken if it leads nowhere.
        self._journal = (folder / "optuna.journal").absolute()
        try:
            self._storage = _open(self._journal, storage)
            optuna.create_study(
                storage=self._storage, study_name=name, load_if_exists=True, direction="minimize"
            )
        except Exception as error:  # drivers of data bases raise whatever comes to hand
            raise UserError(f"cannot open the storage {self._shown}: {in_a_line(error)}") from error
        self._study_id = self._storage.get_study_id_from_name(name)

    @_answering
    def trials(self) -> list[Trial]:
        """As `Ledger.trials`."""
        return [self._trial(frozen) for frozen in self._all()]

    @_answering
    def new(self, first: dict[str, Any]) -> Trial:
        """As `Ledger.new`."""
        known = self._all()
        point = first if not known else self._propose(known)
        made = optuna.trial.create_trial(
            state=TrialState.RUNNING, params=point, distributions=self._distributions()
        )
        identity = self._storage.create_new_trial(self._study_id, template_trial=made)
        return self._trial(self._storage.get_trial(identity))

    @_answering
    def set_target(self, trial: Trial, rung: int) -> Trial:
        """As `Ledger.set_target`."""
        identity = self._identity(trial)
        self._storage.set_trial_user_attr(identity, "target", rung)
        return self._trial(self._storage.get_trial(identity))

    @_answering
    def report(self, trial: Trial, rung: int, score: Score, failure: str | None = None) -> Trial:
        """As `Ledger.report`."""
        identity = self._identity(trial)
        if not self._storage.get_trial(identity).state.is_finished():
            step = self._steps[rung]
            self._storage.set_trial_user_attr(identity, f"loss@{step}", score.loss)
            if failure:
                self._storage.set_trial_user_attr(identity, "failure", failure)
            self._storage.set_trial_intermediate_value(identity, step, score.error)
            if failure:
                self._storage.set_trial_state_values(identity, TrialState.PRUNED, [score.error])
            elif rung + 1 == len(self._steps):
                self._storage.set_trial_state_values(identity, TrialState.COMPLETE, [score.error])
        return self._trial(self._storage.get_trial(identity))

    @_answering
    def close(self) -> None:
        """As `Ledger.close`: what was not taken to the end is pruned where it stands."""
        for frozen in self._all():
            if not frozen.state.is_finished() and frozen.intermediate_values:
                value = frozen.intermediate_values[max(frozen.intermediate_values)]
                self._storage.set_trial_state_values(
                    self._storage.get_trial_id_from_study_id_trial_number(
                        self._study_id, frozen.number
                    ),
                    TrialState.PRUNED,
                    [value],
                )

    def _all(self) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._study_id, deepcopy=False)

    def _identity(self, trial: Trial) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)

    def _trial(self, frozen: FrozenTrial) -> Trial:
        scores = {
            rung: Score(
                frozen.intermediate_values[step], frozen.user_attrs.get(f"loss@{step}", 1e9)
            )
            for rung, step in enumerate(self._steps)
            if step in frozen.intermediate_values
        }
        return Trial(
            frozen.number,
            dict(frozen.params),
            frozen.user_attrs.get("target", 0),
            scores,
            frozen.user_attrs.get("failure"),
        )

    def _propose(self, known: list[FrozenTrial]) -> dict[str, Any]:
        """The sampler's next point, from a copy of the study in memory."""
        number = len(known)
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=_RANDOM_TRIALS, seed=(self._seed * _MOST_TRIALS + number) % 2**32
        )
        copy = optuna.create_study(sampler=sampler, direction="minimize")
        for frozen in known:
            copy.add_trial(_as_paused(frozen))
        point = copy.ask(self._distributions()).params
        # The same four digits as in the built-in search: a point is what its command line says.
        return {
            d.key: point[d.key] if isinstance(d, Among) else d.at(d.position(point[d.key]))
            for d in self._space
        }

    def _distributions(self) -> dict[str, BaseDistribution]:
        return {
            d.key: CategoricalDistribution(d.values)
            if isinstance(d, Among)
            else FloatDistribution(d.low, d.high, log=d.log)
            for d in self._space
        }


def _steps(plan: Plan) -> tuple[int, ...]:
    """Where the trials' scores stand: at their epochs, or by rung where these are not whole.

    Optuna counts steps in whole numbers.
    """
    whole = tuple(round(epochs) for epochs in plan.rungs)
    return whole if whole == plan.rungs else tuple(range(len(plan.rungs)))


def _open(journal: Path, storage: str) -> optuna.storages.BaseStorage:
    if storage == "journal":
        from optuna.storages.journal import JournalFileBackend

        _cut_half_a_line(journal)
        return optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    # No pool: a server has a hundred connections, and hundreds of workers that compute mostly.
    return optuna.storages.RDBStorage(storage, engine_kwargs={"poolclass": NullPool})


def _cut_half_a_line(journal: Path) -> None:
    """Drop the part of a line that a full disk left: Optuna would write the next one behind it.

    Under the study's lock nobody writes meanwhile.
    """
    if journal.exists():
        text = journal.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            os.truncate(journal, whole)


def _as_paused(frozen: FrozenTrial) -> FrozenTrial:
    """The trial as a sampler should see it: pruned where it stands, unless it is complete."""
    state, value = frozen.state, frozen.value
    if state == TrialState.RUNNING and frozen.intermediate_values:
        state = TrialState.PRUNED
    return optuna.trial.create_trial(
        state=state,
        value=value,
        params=frozen.params,
        distributions=frozen.distributions,
        intermediate_values=frozen.intermediate_values,
    )


def importances(
    points: list[dict[str, Any]], scores: list[float], space: Space
) -> dict[str, float]:
    """How much each dimension decides, by Optuna's default evaluator (PED-ANOVA); they sum to 1."""
    copy = optuna.create_study(direction="minimize")
    for point, score in zip(points, scores, strict=True):
        copy.add_trial(
            optuna.trial.create_trial(
                value=score,
                params=point,
                distributions={
                    d.key: CategoricalDistribution(d.values)
                    if isinstance(d, Among)
                    else FloatDistribution(d.low, d.high, log=d.log)
                    for d in space
                },
            )
        )
    return dict(optuna.importance.get_param_importances(copy))
