"""Whether a command asks for the study that is there already."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alexnet.config import key_of, override, setting
from alexnet.errors import UserError
from alexnet.files import at_home
from alexnet.progress import shown_epochs
from alexnet.training.choices import absolute_source
from alexnet.tuning.storage import lasting_storage, shown_storage
from alexnet.tuning.study import Study


@dataclass(frozen=True)
class Asked:
    """What a command says of the study it wants; what it leaves out is as the study has it.

    Attributes:
        data, recipe, assignments, init: as for `training.run.train`.
        trials: how many.
        budget: a time such as "2h" instead.
        storage: as for `create_study`; "auto" is any.
        full: whether it said so.
    """

    data: str | None = None
    recipe: str | None = None
    assignments: Sequence[str] = ()
    init: str | None = None
    trials: int | None = None
    budget: str | None = None
    storage: str = "auto"
    full: bool = False

    @property
    def keys(self) -> Collection[str]:
        """Every `section.key` that the user has set."""
        return tuple(map(key_of, self.assignments))


def check_asked(study: Study, asked: Asked) -> None:
    """Refuse to go on with a study that is not the one asked for.

    Raises:
        UserError: it differs; the line says in what.
    """
    different = [
        f"{name} {has}, not {wanted}" for name, has, wanted in _said(study, asked) if has != wanted
    ]
    searched = {dimension.key for dimension in study.space} - {"optimizer.lr"}
    different += [f"{key} searched, not set" for key in asked.keys if key in searched]
    if different:
        raise UserError(
            f"the study {study.folder} was made with {'; '.join(different)}: choose another --out "
            "for a new study, or give --out alone to go on with this one"
        )


def _said(study: Study, asked: Asked) -> Iterator[tuple[str, Any, Any]]:
    """(name, what the study has, what is asked for) of everything that is asked for."""
    if asked.data is not None:
        yield "the images", study.config.data.source, absolute_source(asked.data)
    if asked.recipe is not None:
        yield "--recipe", study.config.recipe, asked.recipe
    if asked.init is not None:
        yield "--init", study.config.train.init, str(at_home(asked.init).resolve())
    if asked.trials is not None:
        yield "--trials", study.plan.trials, asked.trials
    if asked.budget is not None:
        yield "--budget", study.budget or "left out", asked.budget
    if asked.storage != "auto":
        wanted = lasting_storage(asked.storage)
        yield "--storage", shown_storage(study.storage), shown_storage(wanted)
    if asked.full:
        rungs = [shown_epochs(epochs) for epochs in study.plan.rungs]
        yield "rungs at epochs", ", ".join(rungs), rungs[-1]
    changed = override(study.config, asked.assignments)
    for key in asked.keys:
        yield key, setting(study.config, key), setting(changed, key)
