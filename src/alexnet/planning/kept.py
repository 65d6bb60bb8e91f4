"""What each stage keeps from the forward pass for the backward pass. Free of torch.

The one table to change when an operation learns to keep less; a test holds it to measured peaks.
"""

import math
from dataclasses import dataclass

from alexnet.model.layers import Layer, layer_table, overhang
from alexnet.model.variants import Variant


@dataclass(frozen=True)
class Keeps:
    """What one kind of stage holds on to.

    Attributes:
        input, output: whether it keeps that tensor; one that two stages keep is counted once.
        extra: bytes for each output element beside them.
    """

    input: bool = False
    output: bool = False
    extra: float = 0.0


# By stage where one is special, else by kind of stage.
_KEEPS = {
    "conv": Keeps(input=True),
    "fc": Keeps(input=True),
    "relu": Keeps(output=True),
    "norm": Keeps(input=True),  # its closed form computes the denominators again
    "mapnorm": Keeps(input=True, extra=12.0),  # plain torch: square, mean and power in float32
    "pool": Keeps(input=True, extra=8.0),  # winners as int64
    "dropout": Keeps(extra=1.0),  # the mask
}


@dataclass(frozen=True)
class StageMemory:
    """What is kept of one stage for one image, bytes."""

    name: str
    output: tuple[int, ...]
    kept: float


def kept_by_stage(variant: Variant, num_classes: int, bytes_of_float: int) -> list[StageMemory]:
    """Bytes kept for each image, stage by stage, the image itself first.

    Args:
        variant: the network.
        num_classes: outputs of fc8.
        bytes_of_float: of an activation, 2 in bfloat16.

    Raises:
        UserError: the image is too small for the network.
    """
    side = variant.image_size
    table = layer_table(variant, num_classes)
    image = Layer("image", (3, side, side), 0, 0)
    rows = [StageMemory("image", image.output, _image_bytes(variant, bytes_of_float))]
    for index, layer in enumerate(table):
        after = table[index + 1] if index + 1 < len(table) else None
        own = _keeps(layer.name)
        tensor = own.output or (after is not None and _keeps(after.name).input)
        size = math.prod(layer.output)
        kept = size * (bytes_of_float * tensor + own.extra)
        rows.append(StageMemory(layer.name, layer.output, kept))
    return rows


def _keeps(stage: str) -> Keeps:
    return _KEEPS[stage] if stage in _KEEPS else _KEEPS[stage.rstrip("0123456789")]


def _image_bytes(variant: Variant, bytes_of_float: int) -> float:
    """The bytes as they come, and the floats that conv1 keeps, with its overhang."""
    side = variant.image_size
    padded = side + (max(0, overhang(side, 11, 4)) if variant.conv1_overhang else 0)
    return 3 * (side**2 + padded**2 * bytes_of_float)
