"""The configuration of a run: the recipe for the data, with the user's changes on top."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alexnet.config import Config, key_of, override, read_config, setting, written
from alexnet.data.peek import glance
from alexnet.data.sources import NAMES, Source, as_data, open_source
from alexnet.defaults import DataFacts, reasons
from alexnet.errors import UserError
from alexnet.files import at_home
from alexnet.model.catalog import resolve
from alexnet.model.cifar_variants import CIFAR_VARIANTS
from alexnet.parallel.world import started_rank
from alexnet.progress import say
from alexnet.recipes import find_recipe
from alexnet.training.finetune import beginning_with, check_layer_rules, fitted, held_out_by
from alexnet.training.length import moves, with_epochs


def resolve_config(
    data: str | Path | None,
    recipe: str | None,
    assignments: Sequence[str] | Mapping[str, Any],
    config: Config | str | Path | None = None,
    init: str | None = None,
) -> Config:
    """The complete configuration of a run, every choice made; arguments as for `train`."""
    data, assignments = images_apart(data, written(assignments))
    init, assignments = start_apart(init, assignments)
    if isinstance(config, str | Path):
        config = read_config(at_home(config))
    facts = None
    if config is None:
        if recipe == "finetune" and init is None:
            raise UserError("--recipe finetune begins with another run; name it: --init RUN")
        source, fraction = _opened(data or "digits", assignments, init)
        seen = glance(source.train)
        facts = DataFacts(
            len(source.train),
            len(source.classes),
            mirror=source.mirror,
            crop=source.crop,
            side=seen.side,
            gray=seen.gray,
            stored=len(source.statistics.mean_image) if source.statistics else None,
            seen=resolve(override(Config(), _model(assignments)).model).image_size,
            batch_size=_number(assignments, "train.batch_size"),
            epochs=_number(assignments, "train.epochs"),
        )
        variant = _given(assignments, "model.variant")
        config = find_recipe(recipe or usual_recipe(variant, init is not None))(facts)
        config = replace(config, data=replace(config.data, validation_fraction=fraction))
        config = _moved_along(config, facts.epochs, [*map(key_of, assignments)])
        config = fitted(config, init) if init is not None else config
    elif init is not None:
        config = beginning_with(config, init)
    images = config.data.source if data is None else data
    config = replace(config, data=replace(config.data, source=absolute_source(images)))
    chosen, config = config, override(config, assignments)
    check_layer_rules(config)  # raises early what cannot be built or learn
    if facts and chosen.recipe in ("default", "finetune") and started_rank() == 0:
        for line in reasons(facts, chosen, config):
            say(line)
    return config


def images_apart(
    data: str | Path | None, assignments: Sequence[str]
) -> tuple[str | None, Sequence[str]]:
    """DATA, also where `data.source` names it, and the other assignments.

    Raises:
        UserError: both name it, or the name is empty, as of a variable that is not set.
    """
    clash = "DATA and data.source both say which images; give one of them"
    data, assignments = _apart(data, "data.source", assignments, clash)
    if data == "":
        raise UserError("DATA is empty; name the images, or leave it out for the digits")
    return None if data is None else as_data(data), assignments


def start_apart(init: str | None, assignments: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The run to begin with, also where `train.init` names it, and the other assignments.

    Raises:
        UserError: both name it, or the mean is set, which comes with the weights.
    """
    clash = "--init and train.init both say which run to begin with; give one of them"
    init, assignments = _apart(init, "train.init", assignments, clash)
    if init is not None and _set(assignments, "data.mean"):
        raise UserError("--init brings the mean that its weights grew up with; leave out data.mean")
    return init, assignments


def _apart(
    given: Any, key: str, assignments: Sequence[str], clash: str
) -> tuple[Any, Sequence[str]]:
    """What is given, be it by its key, and the other assignments; both ways are a `clash`."""
    named = _set(assignments, key)
    if not named:
        return given, assignments
    if given is not None:
        raise UserError(clash)
    return _given(named, key), [a for a in assignments if a not in named]


def _opened(data: str, assignments: Sequence[str], init: str | None) -> tuple[Source, float]:
    """The images, and the part held out of those that have no splits.

    It is the part that the run to begin with held out of the same images, or the new run would be
    measured on what the old one was trained on.
    """
    key = "data.validation_fraction"
    fraction: float = _given(assignments, key)
    source = open_source(data, validation_fraction=fraction)
    before = None if init is None else held_out_by(init, source)
    if before is None or before == fraction or _set(assignments, key):
        return source, fraction
    if started_rank() == 0:
        say(f"{key} {before}: what {init} held out of these images")
    return open_source(data, validation_fraction=before), before


def _moved_along(config: Config, epochs: int | None, keep: Sequence[str]) -> Config:
    """What the recipe counts in its epochs, at the same share of those that the user has set."""
    if epochs is None or epochs < 1:  # which is refused where it is set
        return config
    moved = replace(with_epochs(config, epochs, keep), train=config.train)
    if started_rank() == 0:
        for line in moves(config, moved):
            say(line)
    return moved


def usual_recipe(variant: str, fine_tuned: bool = False) -> str:
    """The name of the recipe for a network, where none is asked for.

    The authors' CIFAR-10 nets know neither dropout nor our rates: each brings its own rule.
    """
    if fine_tuned:
        return "finetune"
    if variant == "cifar-19":  # cifar-18 without its normalisation
        return "cifar-18"
    return variant if variant in CIFAR_VARIANTS else "default"


def absolute_source(data: str) -> str:
    """A path as one that still holds when the run is resumed from elsewhere; names stay."""
    if data in NAMES:
        return data
    path = at_home(data)
    return str(path.resolve() if path.exists() else path)


def _number(assignments: Sequence[str], key: str) -> int | None:
    """What the user has set a number to, if anything."""
    return int(_given(assignments, key)) if _set(assignments, key) else None


def _model(assignments: Sequence[str]) -> list[str]:
    """What the user has set of the network."""
    return [assignment for assignment in assignments if key_of(assignment).startswith("model.")]


def _given(assignments: Sequence[str], key: str) -> Any:
    """What the user has set, else what it is in a bare configuration."""
    return setting(override(Config(), _set(assignments, key)), key)


def _set(assignments: Sequence[str], key: str) -> list[str]:
    return [assignment for assignment in assignments if key_of(assignment) == key]
