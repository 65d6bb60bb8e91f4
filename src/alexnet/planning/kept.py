"""What each stage keeps from the forward pass for the backward pass.

The one table to change when an operation learns to keep less; a test holds it to measured peaks.
"""

import math
from dataclasses import dataclass
from typing import Literal

from alexnet.model.layers import KERNELS, STRIDES, layer_table, overhang
from alexnet.model.segments import segments
from alexnet.model.variants import Variant

Fusion = Literal["all", "none"]
"""Whether each run of ReLU, normalisation and pooling is one operation."""


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


# By kind of stage.
_KEEPS = {
    "conv": Keeps(input=True),
    "fc": Keeps(input=True),
    "relu": Keeps(output=True),
    "norm": Keeps(input=True),  # its closed form computes the denominators again
    "mapnorm": Keeps(input=True, extra=12.0),  # plain torch: square, mean and power in float32
    "pool": Keeps(input=True, extra=8.0),  # winners as int64
    "dropout": Keeps(extra=1.0),  # the mask
}
# Stages that run as one operation (`alexnet.ops.Stage`) keep what goes into the first of them and,
# where they pool, the winners as bytes.
_FUSED_FIRST, _FUSED, _FUSED_POOL = Keeps(input=True), Keeps(), Keeps(extra=1.0)


@dataclass(frozen=True)
class StageMemory:
    """What is kept of one stage for one image, bytes."""

    name: str
    output: tuple[int, ...]
    kept: float


def kept_by_stage(
    variant: Variant, num_classes: int, bytes_of_float: int, fusion: Fusion
) -> list[StageMemory]:
    """Bytes kept for each image, stage by stage, the image itself first.

    Args:
        variant: the network.
        num_classes: outputs of fc8.
        bytes_of_float: of an activation, 2 in bfloat16.
        fusion: which stages run as one operation here.

    Raises:
        UserError: the image is too small for the network.
    """
    side = variant.image_size
    rows = [StageMemory("image", (3, side, side), _image_bytes(variant, bytes_of_float))]
    keeps = _keeps_in_order(variant, fusion)
    for layer, own, after in zip(
        layer_table(variant, num_classes), keeps, [*keeps[1:], Keeps()], strict=True
    ):
        tensor = own.output or after.input
        kept = math.prod(layer.output) * (bytes_of_float * tensor + own.extra)
        rows.append(StageMemory(layer.name, layer.output, kept))
    return rows


def _keeps_in_order(variant: Variant, fusion: Fusion) -> list[Keeps]:
    """What each stage of the variant keeps."""
    keeps: list[Keeps] = []
    for names in segments(variant):
        if len(names) == 1 or fusion == "none":
            keeps += [_KEEPS[name.rstrip("0123456789")] for name in names]
        else:
            last = _FUSED_POOL if names[-1].startswith("pool") else _FUSED
            keeps += [_FUSED_FIRST, *[_FUSED] * (len(names) - 2), last]
    return keeps


def _image_bytes(variant: Variant, bytes_of_float: int) -> float:
    """The bytes as they come, and the floats that conv1 keeps, with its overhang."""
    side = variant.image_size
    hanging = overhang(side, KERNELS["conv1"], STRIDES["conv1"]) if variant.conv1_overhang else 0
    return 3.0 * (side**2 + (side + hanging) ** 2 * bytes_of_float)
