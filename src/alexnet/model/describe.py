"""What `alexnet info` prints of a variant or a run. Free of torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet.config import read_config
from alexnet.errors import UserError
from alexnet.files import at_home
from alexnet.model.catalog import ALL_VARIANTS, AnyVariant, layer_table, resolve
from alexnet.model.changes import differences
from alexnet.model.cifar_variants import CIFAR_VARIANTS
from alexnet.model.header import entry, misfit
from alexnet.model.layers import Layer, neurons
from alexnet.suggest import unknown

_BYTES_OF_FLOAT = 4


@dataclass(frozen=True)
class Description:
    """A network in numbers.

    Attributes:
        layers: every stage for one image.
        parameters, macs, neurons: of the whole network.
    """

    variant: AnyVariant
    num_classes: int
    layers: list[Layer]

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def neurons(self) -> int:
        """As the paper counts them (section 3.5)."""
        return neurons(self.layers)

    def to_json(self) -> dict[str, Any]:
        """The command line's JSON contract; shapes are [C, H, W]."""
        return {
            "variant": self.variant.name,
            "parameters": self.parameters,
            "macs": self.macs,
            "neurons": self.neurons,
            "layers": [
                {
                    "name": layer.name,
                    "output": [*layer.output, 1, 1][:3],
                    "parameters": layer.parameters,
                    "macs": layer.macs,
                }
                for layer in self.layers
            ],
        }


def describe(variant_or_run: str, num_classes: int | None = None) -> Description:
    """The description of a variant by name, or of a run directory.

    Args:
        variant_or_run: which.
        num_classes: outputs of a variant, or of a run that has no weights yet; by default 1000,
            of the networks for CIFAR-10 10.

    Raises:
        UserError: neither a variant nor a run, one whose weights are damaged, or one that has
            another number of classes.
    """
    if variant_or_run in ALL_VARIANTS:
        variant = ALL_VARIANTS[variant_or_run]
        num_classes = num_classes or (10 if variant_or_run in CIFAR_VARIANTS else 1000)
        return Description(variant, num_classes, layer_table(variant, num_classes))
    run = at_home(variant_or_run)
    if (run / "config.json").exists():
        variant = resolve(read_config(run / "config.json").model)
        own = _classes_of_run(run)
        if own is not None and num_classes not in (None, own):
            raise UserError(f"{run} has {own} classes; leave out --classes {num_classes}")
        num_classes = own if own is not None else num_classes or 1000
        return Description(variant, num_classes, layer_table(variant, num_classes))
    if run.exists():
        raise UserError(f"{run} is not a run: it holds no config.json")
    raise UserError(unknown("variant or run", variant_or_run, ALL_VARIANTS))


def layer_lines(description: Description, list_variants: bool) -> list[str]:
    """The layer table, with totals and memory, for people."""
    lines = [
        f"{description.variant.name}: {description.variant.summary}",
        "",
        f"{'layer':<10}{'output':>14}{'parameters':>13}{'multiply-adds':>15}",
    ]
    for layer in description.layers:
        shape = " x ".join(map(str, layer.output))
        counts = f"{layer.parameters:>13,}{layer.macs:>15,}" if layer.parameters else f"{'':>28}"
        lines.append(f"{layer.name:<10}{shape:>14}{counts}".rstrip())
    mebibytes = description.parameters * _BYTES_OF_FLOAT / 2**20
    lines += [
        f"{'total':<10}{'':>14}{description.parameters:>13,}{description.macs:>15,}",
        "",
        f"{description.neurons:,} neurons; {mebibytes:.0f} MiB of float32 weights, "
        f"{2 * mebibytes:.0f} MiB more for gradient and velocity while training",
    ]
    if list_variants:
        width = max(map(len, ALL_VARIANTS)) + 2
        lines += ["", "variants:"]
        lines += [f"  {name:<{width}}{variant.summary}" for name, variant in ALL_VARIANTS.items()]
    return lines


def difference(a: Description, b: Description) -> dict[str, Any]:
    """The names of two variants, and both values of each field in which they differ."""
    fields = {name: (in_a, in_b) for name, in_a, in_b in differences(a.variant, b.variant)}
    for name in ("parameters", "macs"):
        counts = (getattr(a, name), getattr(b, name))
        if counts[0] != counts[1]:
            fields[name] = counts
    return {"variants": (a.variant.name, b.variant.name), "fields": fields}


def difference_lines(a: Description, b: Description) -> list[str]:
    """One line for each field in which two variants differ."""
    fields = difference(a, b)["fields"]
    if not fields:
        return [f"{a.variant.name} and {b.variant.name} are the same"]
    lines = [f"{'':<20}{a.variant.name} | {b.variant.name}"]
    lines += [f"{name:<20}{_plain(in_a)} | {_plain(in_b)}" for name, (in_a, in_b) in fields.items()]
    return lines


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _classes_of_run(run: Path) -> int | None:
    """How many its weights answer; None before there are any."""
    weights = run / "weights.safetensors"
    if not weights.exists():
        return None
    try:
        return len(entry(weights, "classes"))
    except TypeError as error:
        raise misfit(weights, error) from None
