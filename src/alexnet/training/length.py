"""A run of another length: what a recipe counts in epochs moves along."""

from collections.abc import Collection
from dataclasses import replace

from alexnet.config import Config, change, setting

_COUNTED_IN_EPOCHS = (
    "schedule.warmup_epochs",
    "schedule.milestones",
    "augment.color_epochs",
    "optimizer.layer_rates",
)


def with_epochs(config: Config, epochs: int, keep: Collection[str] = ()) -> Config:
    """The configuration over so many epochs, with what is counted in epochs at the same share.

    Args:
        config: of a whole run; steps that it says are not kept.
        epochs: 1 or more.
        keep: keys that stay as they are, such as those that the user has set.
    """

    def moved(first: int) -> int:
        """Where an epoch that begins something, counted from 1, lies in the run of other length."""
        return first if first <= 1 else max(2, 1 + round((first - 1) * epochs / planned))

    planned = config.train.epochs
    colored = config.augment.color_epochs
    values = {
        "schedule.warmup_epochs": min(config.schedule.warmup_epochs, max(0.5, 0.15 * epochs)),
        "schedule.milestones": tuple(sorted({moved(m) for m in config.schedule.milestones})),
        "augment.color_epochs": None if colored is None else moved(colored + 1) - 1,
        "optimizer.layer_rates": [
            (layer, moved(first), factor) for layer, first, factor in config.optimizer.layer_rates
        ],
    }
    fitted = replace(config, train=replace(config.train, epochs=epochs, steps=None))
    for key, value in values.items():
        if key not in keep:
            fitted = change(fitted, key, value)
    return fitted


def moves(before: Config, after: Config) -> list[str]:
    """What moved along, in lines."""
    return [
        f"  {key} {setting(after, key)}: moved along"
        for key in _COUNTED_IN_EPOCHS
        if setting(after, key) != setting(before, key)
    ]
