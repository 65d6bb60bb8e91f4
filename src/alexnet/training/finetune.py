"""Fine-tuning: begin with the weights of another run, and replace the head by class name."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from alexnet.config import Config, DataConfig, ModelConfig, change, read_config
from alexnet.data.sources import Source
from alexnet.errors import UserError
from alexnet.files import at_home
from alexnet.model.build import Network
from alexnet.model.catalog import ALL_VARIANTS, resolve
from alexnet.model.changes import differences
from alexnet.model.header import training_data_of
from alexnet.model.weights import load
from alexnet.parallel.world import started_rank
from alexnet.progress import say
from alexnet.suggest import unknown

# What may differ from the network whose weights are taken: names, training, and size if it fits.
_ANEW = ("name", "summary", "image_size", "dropout", "weight_std", "bias")


def network_of(init: Path) -> tuple[ModelConfig, int]:
    """The network that a run to begin with has, as configuration, and its stored size in pixels.

    Raises:
        UserError: it is no run and no weights file, or its network is not in the table.
    """
    if (init / "config.json").exists():
        config = read_config(init / "config.json")
        return config.model, config.data.size
    base = load(init)
    known = ALL_VARIANTS.get(base.variant.name, base.variant)
    new = {f.name: getattr(base.variant, f.name) for f in fields(known) if f.name in _ANEW}
    if base.variant != replace(known, **new):
        raise UserError(
            f"{init} holds a changed {base.variant.name}; give the run directory it came from"
        )
    return ModelConfig(base.variant.name, image_size=base.variant.image_size), base.stored_size


def held_out_by(init: str, source: Source) -> float | None:
    """The part of these images that a run to begin with held out, if it was trained on them.

    None where it was trained on others, or where these have splits of their own.
    """
    known = training_data_of(init)
    if not source.divided or not _are_same(known, {"name": source.name, "kind": source.kind}):
        return None
    return known.get("validation_fraction")


def _are_same(known: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two notes on training data are of the same images, by what they are called."""
    return all(known.get(key) == other.get(key) for key in ("name", "kind"))


def begin_with(model: Network, init: str | Path) -> list[str]:
    """Give a new network the weights and the mean of a trained one.

    Rows of the head, the last layer with weights, go by the names of the classes: those that both
    know are taken over, the others keep their new initial weights. The mean stays that of the
    images the weights grew up with.

    Returns:
        The names of the classes that were taken over.

    Raises:
        UserError: nothing there, or the two networks differ in more than their classes.
    """
    base = load(init)
    if not all(tensor.isfinite().all() for tensor in base.state_dict().values()):
        raise UserError(f"{init} has weights that are no numbers: it diverged; name another run")
    own, others = model.state_dict(), base.state_dict()
    head = f"{model.variant.weight_layers[-1]}."
    different = [
        name
        for name, tensor in own.items()
        if not name.startswith(head) and tensor.shape != others.get(name, tensor[:0]).shape
    ]
    different += [
        field.name
        for field in fields(base.variant)
        if field.name not in _ANEW
        and getattr(base.variant, field.name) != getattr(model.variant, field.name, None)
    ]
    if different:
        raise UserError(
            f"the network of {init} ({base.variant.name}) is not the one to be trained "
            f"({model.variant.name}; first difference: {different[0]}); "
            "leave --variant and model.* to --init"
        )
    row_of = {name: row for row, name in enumerate(base.classes)}
    shared = [name for name in model.classes if name in row_of]
    with torch.no_grad():
        for name, tensor in own.items():
            if not name.startswith(head):
                tensor.copy_(others[name])
                continue
            for row, class_name in enumerate(model.classes):
                if class_name in row_of:
                    tensor[row].copy_(others[name][row_of[class_name]])
    return shared


def freeze(model: Network, config: Config) -> list[str]:
    """Ask for no gradients of layers whose rate is 0 from the first epoch to the last.

    Returns:
        Their names.
    """
    frozen = _frozen(model.variant.weight_layers, config)
    for name in frozen:
        model.get_submodule(name).requires_grad_(False)
    return frozen


def _frozen(layers: Sequence[str], config: Config) -> list[str]:
    rules: dict[str, list[float]] = {}
    for layer, first_epoch, factor in config.optimizer.layer_rates:
        rules.setdefault(layer, [] if first_epoch <= 1 else [1.0]).append(factor)
    return [name for name in layers if rules.get(name) and not any(rules[name])]


def start_weights(model: Network, config: Config) -> None:
    """Begin with the weights that the configuration names, if any, and say what became of them."""
    if config.train.init is None:
        return
    shared = begin_with(model, config.train.init)
    say(
        f"weights from {config.train.init}; {len(shared)} of {len(model.classes)} classes are "
        "known to it by name, the head of the others is new"
    )
    _warn_of_seen_images(model.training_data, config.train.init)


def _warn_of_seen_images(own: dict[str, Any], init: str) -> None:
    """Say so where more is held out than the run to begin with held out of the same images."""
    others = training_data_of(init)
    amounts = ("validation_fraction", "validation_images")
    if _are_same(own, others) and all(own.get(a, 0) > others.get(a, 0) for a in amounts):
        say(
            f"of the {own['validation_images']} validation images {init} held out "
            f"{others['validation_images']} and was trained on the others: the error will be too "
            f"good to be true; --set data.validation_fraction={others['validation_fraction']}"
        )


def fitted(config: Config, init: str) -> Config:
    """The configuration with the network and image size of the run to begin with.

    What a recipe says of its head, fc8, goes for the head of that network. Dropout stays as well:
    the weights grew up with so many of the units before them.
    """
    place = at_home(init)
    model, size = network_of(place)
    head = resolve(model).weight_layers[-1]
    data: DataConfig = replace(config.data, size=size)
    train = replace(config.train, init=str(place.resolve()))
    rules = [
        (head if layer == "fc8" else layer, *rest) for layer, *rest in config.optimizer.layer_rates
    ]
    fitted = replace(config, model=model, data=data, train=train)
    return change(fitted, "optimizer.layer_rates", rules)


def beginning_with(config: Config, init: str) -> Config:
    """A configuration as it was written, begun with another run's weights.

    Raises:
        UserError: the network of that run is another one.
    """
    place = at_home(init)
    other = resolve(network_of(place)[0])
    different = [
        f"{name} {own} and {of_other}"
        for name, own, of_other in differences(resolve(config.model), other)
        if name not in _ANEW
    ]
    if different:
        raise UserError(
            f"--config has another network than {init}: {'; '.join(different)}; leave out one of "
            "them"
        )
    return replace(config, train=replace(config.train, init=str(place.resolve())))


def with_layer_rates(config: Config, freeze: Iterable[str], factors: Iterable[str]) -> Config:
    """Add rules for layers, from the first epoch on; they win over those that are there.

    Args:
        config: a configuration.
        freeze: layers that keep their weights.
        factors: `layer=factor`, relative to the general rate.

    Raises:
        UserError: no layer of this network, no number, or nothing is left to learn.
    """
    rules = [(layer, 1, 0.0) for name in freeze for layer in name.split(",")]
    for entry in factors:
        layer, _, text = entry.partition("=")
        try:
            rules.append((layer, 1, float(text)))
        except ValueError:
            raise UserError(f"--layer-rate wants LAYER=FACTOR, not {entry!r}") from None
    named = [layer for layer, _, _ in rules]
    _check_layers(config, named)
    if twice := next((layer for layer in named if named.count(layer) > 1), None):
        raise UserError(f"{twice} is named twice by --freeze and --layer-rate; one of them says it")
    kept = [rule for rule in config.optimizer.layer_rates if rule[0] not in named]
    config = change(config, "optimizer.layer_rates", [*kept, *rules])
    check_layer_rules(config)
    if started_rank() == 0:
        for layer, _, factor in rules:
            say(f"  optimizer.layer_rates {layer}: {factor:g} times the rate, as you say")
    return config


def check_layer_rules(config: Config) -> None:
    """Refuse rules for layers that the network does not have, or that leave nothing to learn.

    Raises:
        UserError: there is such a rule.
    """
    _check_layers(config, [layer for layer, _, _ in config.optimizer.layer_rates])
    _check_layers(config, [layer for layer, _ in config.optimizer.layer_decays])
    layers = resolve(config.model).weight_layers
    if len(_frozen(layers, config)) == len(layers):
        raise UserError("every layer is frozen; leave one to learn, such as the last")


def _check_layers(config: Config, names: Iterable[str]) -> None:
    network = resolve(config.model)
    for name in names:
        if name not in network.weight_layers:
            raise UserError(unknown(f"layer of {network.name}", name, network.weight_layers))
