"""What follows from the data: facts that are known of them, and the choices of the default recipe.

Free of torch, so that the command line can say what it chose before anything is loaded.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from alexnet.config import Config, setting

_SMALL_SET = 20_000
"""Images below which the paper's batch and dropout are too much for the steps that there are."""
_BROUGHT = {"model.dropout": "as in the run to begin with, whose weights grew up so"}
"""What fine-tuning takes from the other run."""


@dataclass(frozen=True)
class DataFacts:
    """What a recipe may know of the data, and of the user's wishes, before anything is decoded."""

    images: int  # in the training split
    classes: int
    mirror: bool  # a mirror image still shows the same class
    crop: bool = True  # cutting up to an eighth from an edge takes nothing that matters
    side: int | None = None  # median shorter side of the files in pixels, where it is known
    gray: bool = False  # no image has colours
    stored: int | None = None  # side in pixels of the squares of a prepared set
    seen: int = 224  # pixels each way that the network will see
    batch_size: int | None = None  # what the user has set: the rest is chosen to go with it
    epochs: int | None = None


@dataclass(frozen=True)
class Choice:
    """One setting that a recipe chose for the data.

    Attributes:
        key: `section.key` of the configuration.
        value: what was chosen.
        reason: why, in words that follow the value.
    """

    key: str
    value: Any
    reason: str

    def line(self) -> str:
        """The choice for people."""
        return f"  {self.key} {_shown(self.value)}: {self.reason}"


def _shown(value: Any) -> str:
    """A value for people; None leaves the choice to the network."""
    if value is None:
        return "the network's own"
    return f"{value:g}" if isinstance(value, float) else str(value)


def choices(facts: DataFacts) -> list[Choice]:
    """What the recipe `default` sets for these data, and why."""
    return [*_length(facts), *_size(facts), *_augmentation(facts), *_regularisation(facts)]


def _length(facts: DataFacts) -> list[Choice]:
    """Batch, rate, epochs and schedule.

    The rate of 0.01 was meant for batches of 128 out of a million images. A small set has too few
    steps in an epoch for such batches, so they shrink, and the rate shrinks with their square root,
    which keeps the variance of an update (Krizhevsky 2014, section 5). In proportion it would be
    half as much for batches of 32, which was worse on narrow networks and no better on the full one
    (docs/log.md). A rate that is right later is too high for the first steps, in which biases of 1
    meet raw pixels: hence a warm-up of an epoch, or 100 steps, but no more than a seventh of the
    run. The rate falls to nothing in a straight line, because a plateau of a few validation images
    is mostly chance. From 200,000 images on, epochs and rate are the paper's.
    """
    images = facts.images
    by_size = 32 if images < _SMALL_SET else 64 if images < 200_000 else 128
    batch_size = facts.batch_size or by_size
    epochs = 90 if images >= 200_000 else min(90, max(10, round(30_000 / images)))
    steps_per_epoch = max(1.0, images / batch_size)
    warmup = max(1.0, 100 / steps_per_epoch)
    warmup = min(warmup, longest_warmup(facts.epochs or epochs))
    steps = -(-images // batch_size)  # the last may hold fewer images
    said = "" if batch_size == by_size else f"as you say (it would be {by_size}), "
    return [
        Choice(
            "train.batch_size",
            batch_size,
            f"{said}{images:,} images make {steps:,} steps an epoch of it",
        ),
        Choice(
            "optimizer.lr",
            0.01 * math.sqrt(min(batch_size, images) / 128),
            "the paper's 0.01 for batches of 128, with the square root of the batch",
        ),
        Choice(
            "train.epochs",
            epochs,
            "the paper's" if epochs == 90 else f"about {epochs * images:,} images seen",
        ),
        Choice("schedule.kind", "polynomial", "a straight line to nothing needs no plateaus"),
        Choice("schedule.power", 1.0, "a straight line"),
        Choice(
            "schedule.warmup_epochs",
            warmup,
            f"about {round(warmup * steps):,} steps, until biases of 1 and raw pixels have met",
        ),
    ]


def longest_warmup(epochs: int) -> float:
    """Epochs: a seventh of the run, or half an epoch where that is more."""
    return max(0.5, epochs / 7)


def _size(facts: DataFacts) -> list[Choice]:
    """Squares of a prepared set stay as they are where they leave room for crops."""
    if facts.stored is None or facts.stored <= facts.seen:
        return []
    return [Choice("data.size", facts.stored, "the set was prepared so, with its mean")]


def _augmentation(facts: DataFacts) -> list[Choice]:
    return [
        Choice(
            "augment.crop",
            "random" if facts.crop else "center",
            "patches of a picture show the same class"
            if facts.crop
            else "what matters reaches the edge",
        ),
        Choice(
            "augment.mirror",
            facts.mirror,
            "a mirror image shows the same class"
            if facts.mirror
            else "a mirror image is another thing",
        ),
        Choice(
            "augment.color",
            "none" if facts.gray else "paper",
            "there is no colour" if facts.gray else "section 4.1, the light may change",
        ),
    ]


def _regularisation(facts: DataFacts) -> list[Choice]:
    """Decay and dropout.

    Dropout of one half "roughly doubles the number of iterations required to converge" (section
    4.2), and the runs of small sets are a hundredth of the paper's: with 0.3 they ended with less
    error on 800 photographs and on the digits. On 160 photographs, which are learnt by heart, 0.5
    was better. What speaks for and against it is in docs/log.md.
    """
    if facts.images < 500:
        dropout, reason = 0.5, "the paper's; so few are soon known by heart"
    elif facts.images < _SMALL_SET:
        # 2012 (D12): half of the units, of so many images as nobody has at home.
        dropout, reason = 0.3, "the paper's 0.5 wants more steps than there are"
    else:
        dropout, reason = 0.5, "the paper's"
    return [
        Choice("optimizer.weight_decay", 0.0005, "the paper's"),
        Choice("model.dropout", dropout, reason),
    ]


def reasons(facts: DataFacts, chosen: Config, config: Config) -> list[str]:
    """Why each setting is what it is, one line each.

    Args:
        facts: what was known of the data.
        chosen: the configuration as `default` or `finetune` made it.
        config: the same with the user's changes.
    """
    lines = [
        _line(choice, setting(chosen, choice.key), setting(config, choice.key), config)
        for choice in choices(facts)
        if choice.key != "schedule.power" or config.schedule.kind == "polynomial"
    ]
    head = f"chosen for {facts.images:,} images of {facts.classes} classes:"
    return [head, *lines, *(_hints(facts, config) if config.train.init is None else _rates(config))]


def _line(choice: Choice, ours: Any, value: Any, config: Config) -> str:
    """A choice as it was made, what fine-tuning made of it, or what the user did."""
    begun = config.train.init is not None
    if value != ours:
        return f"  {choice.key} {_shown(value)}: as you say (it would be {_shown(ours)})"
    if begun and choice.key in _BROUGHT:
        return f"  {choice.key} {_shown(ours)}: {_BROUGHT[choice.key]}"
    if ours != choice.value:
        return f"  {choice.key} {_shown(ours)}: fine-tuning, from scratch {_shown(choice.value)}"
    if begun and choice.key == "schedule.warmup_epochs":
        return f"  {choice.key} {_shown(ours)}: as from scratch"
    return choice.line()


def _rates(config: Config) -> Iterator[str]:
    """Rates of single layers."""
    for layer, first_epoch, factor in config.optimizer.layer_rates:
        since = "" if first_epoch <= 1 else f" from epoch {first_epoch} on"
        yield f"  optimizer.layer_rates {layer}: {factor:g} times that rate{since}"


def _hints(facts: DataFacts, config: Config) -> Iterator[str]:
    """What would be faster."""
    if facts.side is not None and facts.side < config.data.size // 2 and config.data.size > 144:
        yield (
            f"  data.size {config.data.size}: images of {facts.side} pixels are enlarged to it; "
            "--set data.size=72 --set model.image_size=64 is some ten times faster"
        )
    elif facts.stored is not None and facts.stored < config.data.size:
        yield (
            f"  data.size {config.data.size}: the set's squares of {facts.stored} pixels are "
            f"enlarged to it; --set model.image_size={facts.stored - facts.stored // 8} is faster"
        )
