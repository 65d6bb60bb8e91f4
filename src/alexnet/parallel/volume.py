"""How many bytes a layout exchanges: arithmetic over the table of layers. Free of torch.

The counts of exchanges are held against the counters of the running code by the tests; the sums of
gradients are those of a ring, 2 (N - 1) / N times the bytes added up, the least there is.
"""

import math
from dataclasses import dataclass

from alexnet.model.catalog import AnyVariant, layer_table
from alexnet.model.variants import WEIGHT_LAYERS, Variant

LAYOUTS = ("one", "data", "columns", "hybrid")
GRADIENT_BYTES = 4  # gradients are added up in float32


@dataclass(frozen=True)
class Volume:
    """What each process sends in one step.

    Attributes:
        exchange: bytes of activations and their gradients, to compute the step.
        gradients: bytes to add up gradients, beside the computation.
        messages: exchanges one after the other, each of which costs a latency.
    """

    exchange: int
    gradients: int
    messages: int

    @property
    def total(self) -> int:
        """All bytes that a process sends in a step."""
        return self.exchange + self.gradients


def volume(
    variant: Variant,
    num_classes: int,
    layout: str,
    processes: int,
    batch_size: int,
    activation_bytes: int,
) -> Volume:
    """What the first process sends; where units do not divide evenly, it has one more.

    Args:
        variant, num_classes: the network.
        layout: one, data, columns or hybrid.
        processes: how many.
        batch_size: images of all processes in a step.
        activation_bytes: 4 in float32, 2 in bf16.
    """
    table = {row.name: row for row in layer_table(variant, num_classes)}
    parameters = {name: row.parameters for name, row in table.items() if row.parameters}
    everything = sum(parameters.values())
    if layout == "data":
        return Volume(0, _ring(everything, processes), 0)
    if layout == "columns":
        columns = variant.columns
        images = -(-batch_size // (processes // columns))
        per_image = column_activations(variant, num_classes)
        return Volume(
            exchange=images * per_image * activation_bytes,
            gradients=_ring(-(-everything // columns), processes // columns),
            messages=9,
        )
    if layout == "hybrid":
        images = -(-batch_size // processes)
        per_image = hybrid_activations(variant, num_classes, processes)
        convolutions = sum(n for name, n in parameters.items() if name.startswith("conv"))
        return Volume(
            exchange=images * per_image * activation_bytes,
            gradients=_ring(convolutions, processes),
            messages=9,
        )
    return Volume(0, 0, 0)


def column_activations(variant: Variant, num_classes: int) -> int:
    """Activations that a column sends for one image, forwards and backwards."""
    table = {row.name: row.output for row in layer_table(variant, num_classes)}
    columns = variant.columns
    both_ways = sum(
        math.prod(table[name]) // columns
        for name in (_input_of("conv3", variant), _input_of("fc6", variant), "fc6", "fc7")
    )
    logits = -(-num_classes // columns)  # forwards only
    return (columns - 1) * (2 * both_ways + logits)


def hybrid_activations(variant: Variant, num_classes: int, processes: int) -> int:
    """Activations that the first process sends for one image of its own, forwards and backwards.

    Each joined layer computes its units of `processes` images for one image of its own.
    """
    table = {row.name: row.output for row in layer_table(variant, num_classes)}
    others = processes - 1
    features = 2 * others * math.prod(table[_input_of("fc6", variant)])
    units = -(-variant.hidden // processes)
    joined = processes * (others * units + variant.hidden - units)  # fc7; the same for fc8
    classes = -(-num_classes // processes)
    logits = others * classes + num_classes - classes
    return features + 2 * joined + logits


def why_not_by_column(variant: AnyVariant) -> str | None:
    """Why the variant's columns cannot be taken apart, None if they can."""
    if not isinstance(variant, Variant) or variant.columns < 2:
        return (
            f"{variant.name} has one column and cannot be spread by column; "
            "use --layout data or hybrid"
        )
    if not is_of_paper_layers(variant):
        return (
            f"{variant.name} has other layers than the paper and cannot be spread by column; "
            "use --layout data"
        )
    normalised = any(stage.startswith("norm") for stage in variant.order)
    if normalised and not variant.normalization.inside_column:
        return (
            f"{variant.name} normalises across its columns, which would lie on different "
            "devices; use --layout data or hybrid"
        )
    return None


def has_paper_head(variant: AnyVariant) -> bool:
    """Whether fc6, fc7 and fc8 are those of the paper, which can be dealt out by units."""
    return isinstance(variant, Variant) and variant.exchange and variant.fc6_hidden is None


def is_of_paper_layers(variant: AnyVariant) -> bool:
    """Whether no layer is missing and the columns meet where the paper's do."""
    return has_paper_head(variant) and all(name in variant.order for name in WEIGHT_LAYERS)


def possible_layouts(variant: AnyVariant, processes: int) -> list[str]:
    """The layouts in which so many processes can share the network."""
    if processes == 1:
        return ["one"]
    if not isinstance(variant, Variant) or not has_paper_head(variant):
        return ["data"]
    by_column = why_not_by_column(variant) is None and processes % variant.columns == 0
    return ["data", *(["columns"] if by_column else []), "hybrid"]


def least_exchanging(
    variant: AnyVariant, num_classes: int, processes: int, batch_size: int, activation_bytes: int
) -> str:
    """The layout that sends the fewest bytes in a step: what `--layout auto` takes."""
    possible = possible_layouts(variant, processes)
    if not isinstance(variant, Variant) or len(possible) == 1:
        return possible[0]
    sizes = {
        layout: volume(variant, num_classes, layout, processes, batch_size, activation_bytes).total
        for layout in possible
    }
    return min(sizes, key=lambda layout: sizes[layout])


def _ring(parameters: int, processes: int) -> int:
    return 2 * (processes - 1) * GRADIENT_BYTES * parameters // processes


def _input_of(layer: str, variant: Variant) -> str:
    return variant.order[variant.order.index(layer) - 1]
