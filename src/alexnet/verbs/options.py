"""Options that several verbs take."""

from pathlib import Path
from typing import Any

import click


class _Place(click.Path):
    """A path; ~ is a home also in `--out=~/run`, which a shell leaves as it is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from alexnet.files import at_home

        return at_home(str(super().convert(value, param, ctx)))


place = _Place()
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default=None, help="Where to compute."
)
layout_option = click.option(
    "--layout",
    type=click.Choice(["auto", "one", "columns", "data", "hybrid"]),
    default="auto",
    help="How several devices share the network.",
)
views_option = click.option(
    "--views",
    type=click.Choice(["1", "9", "10"]),
    default=None,
    help="Centre patch, the paper's ten patches averaged, or nine as for CIFAR-10.",
)


def assignments_of(named: dict[str, Any]) -> list[str]:
    """The named options of a training as `section.key=value`."""
    homes = {
        "epochs": "train.epochs",
        "steps": "train.steps",
        "batch_size": "train.batch_size",
        "lr": "optimizer.lr",
        "variant": "model.variant",
        "seed": "train.seed",
        "precision": "train.precision",
        "device": "train.device",
        "views": "evaluation.views",
    }
    return [f"{homes[name]}={value}" for name, value in named.items() if value is not None]
