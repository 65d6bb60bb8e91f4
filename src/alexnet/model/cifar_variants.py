"""The authors' networks for CIFAR-10 as a table. Nothing here computes with tensors.

Section 3.3 of the paper and its Figure 1 speak of them; their definitions are layer files of
cuda-convnet: `layers-18pct.cfg`, `layers-19pct.cfg` and `layers-conv-local-13pct.cfg` in the
release of 2012, `layers-conv-local-11pct.cfg` in cuda-convnet. All convolutions are 5x5 and see
every map, `local` layers are 3x3 without shared weights, pooling is 3x3/2 with partial windows.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from alexnet.config import ModelConfig
from alexnet.errors import UserError
from alexnet.model.layers import Layer
from alexnet.model.variants import Normalization

KERNELS = {"conv": 5, "local": 3}
POOLING_WINDOW, POOLING_STRIDE = 3, 2

_NORMALIZATION = Normalization(9, 1e-3, 0.75, 1.0, divide_alpha=True)


@dataclass(frozen=True)
class WeightLayer:
    """A layer with weights: how many maps or units, and the scale of its initial weights."""

    name: str
    outputs: int  # 0: as many as there are classes
    weight_std: float


@dataclass(frozen=True)
class CifarVariant:
    """One network for CIFAR-10, described completely. Biases begin at 0."""

    name: str
    summary: str
    order: tuple[str, ...]
    layers: tuple[WeightLayer, ...]
    image_size: int = 32
    average_pooling: tuple[str, ...] = ()  # which pooling layers average; the others take the max
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    # norm1, norm2: across maps, with k = 1 and alpha divided by the window.
    normalization: Normalization = _NORMALIZATION
    # mapnorm1, mapnorm2: within a map, over a window of this side, k = 1, power 0.75.
    map_window: int = 3
    map_scale: float = 5e-5
    columns: int = 1  # as `Variant` has it; these networks have one

    @property
    def weight_layers(self) -> tuple[str, ...]:
        """The names of the layers with weights, in order."""
        return tuple(layer.name for layer in self.layers)


_SHARED = (
    WeightLayer("conv1", 32, 0.0001),
    WeightLayer("conv2", 32, 0.01),
    WeightLayer("conv3", 64, 0.01),
    WeightLayer("fc10", 0, 0.01),
)
_UNSHARED = (
    WeightLayer("conv1", 64, 0.0001),
    WeightLayer("conv2", 64, 0.01),
    WeightLayer("local3", 32, 0.04),
    WeightLayer("local4", 32, 0.04),
    WeightLayer("fc10", 0, 0.01),
)

_19 = CifarVariant(
    name="cifar-19",
    summary="the authors' net of 19 % on CIFAR-10: three convolutions, no normalisation",
    order=(
        *("conv1", "relu1", "pool1"),
        *("conv2", "relu2", "pool2"),
        *("conv3", "relu3", "pool3"),
        "fc10",
    ),
    layers=_SHARED,
    average_pooling=("pool2", "pool3"),
)
_13 = CifarVariant(
    name="cifar-13",
    summary="the authors' net of 13 % on CIFAR-10: two layers without shared weights",
    order=(
        *("conv1", "relu1", "pool1"),
        *("conv2", "relu2", "pool2"),
        *("local3", "relu3"),
        *("local4", "relu4"),
        "fc10",
    ),
    layers=_UNSHARED,
    image_size=24,
)

_VARIANTS = (
    replace(
        _19,
        name="cifar-18",
        summary="the authors' net of 18 % on CIFAR-10: as cifar-19 with same-map normalisation",
        order=(
            *("conv1", "relu1", "pool1", "mapnorm1"),
            *("conv2", "relu2", "pool2", "mapnorm2"),
            *("conv3", "relu3", "pool3"),
            "fc10",
        ),
    ),
    _19,
    _13,
    replace(
        _13,
        name="cifar-11",
        summary="the authors' net of 11 % on CIFAR-10: as cifar-13, but normalised",
        order=(
            *("conv1", "relu1", "pool1", "norm1"),
            *("conv2", "relu2", "norm2", "pool2"),
            *_13.order[6:],
        ),
        layers=tuple(
            replace(layer, outputs=64) if layer.name == "local3" else layer for layer in _UNSHARED
        ),
    ),
)

CIFAR_VARIANTS: dict[str, CifarVariant] = {variant.name: variant for variant in _VARIANTS}


def resolve_cifar(config: ModelConfig) -> CifarVariant:
    """The variant a configuration names, with the configuration's changes applied.

    Raises:
        UserError: a change that these networks do not know.
    """
    variant = CIFAR_VARIANTS[config.variant]
    for key in ("pooling", "columns", "dropout"):
        if getattr(config, key) is not None:
            raise UserError(
                f"{variant.name} has no model.{key}; leave it out, or take the net's own recipe: "
                "--recipe cifar-18, cifar-13 or cifar-11"
            )
    if config.activation is not None:
        variant = replace(variant, activation=config.activation)
    if config.normalization and not any("norm" in stage for stage in variant.order):
        raise UserError(
            f"{variant.name} has no normalization to switch on; use cifar-18 or cifar-11"
        )
    if config.normalization is False:
        variant = replace(variant, order=tuple(s for s in variant.order if "norm" not in s))
    if config.image_size is not None:
        variant = replace(variant, image_size=config.image_size)
    if config.width != 1.0:
        scaled = (_scaled(layer, config.width) for layer in variant.layers)
        variant = replace(variant, layers=tuple(scaled))
    return variant


def cifar_layer_table(variant: CifarVariant, num_classes: int = 10) -> list[Layer]:
    """Every stage of the variant in order.

    Raises:
        UserError: the image is too small to leave 1x1 after the last pooling layer.
    """
    outputs = {layer.name: layer.outputs or num_classes for layer in variant.layers}
    rows: list[Layer] = []
    shape: tuple[int, ...] = (3, variant.image_size, variant.image_size)
    for name in variant.order:
        inputs = shape
        parameters = macs = 0
        if name.startswith("conv"):
            shape = (outputs[name], *inputs[1:])
            fan_in = inputs[0] * KERNELS["conv"] ** 2
            parameters = shape[0] * (fan_in + 1)
            macs = math.prod(shape) * fan_in
        elif name.startswith("local"):
            shape = (outputs[name], *inputs[1:])
            macs = math.prod(shape) * inputs[0] * KERNELS["local"] ** 2
            parameters = macs + math.prod(shape)  # one weight a product, one bias a unit
        elif name.startswith("fc"):
            shape = (outputs[name],)
            macs = math.prod(inputs) * shape[0]
            parameters = macs + shape[0]
        elif name.startswith("pool"):
            shape = (inputs[0], *(_pooled(side) for side in inputs[1:]))
        if min(shape) < 1:
            raise UserError(
                f"an image of {variant.image_size} pixels is too small for {variant.name}: nothing "
                f"is left after {name}"
            )
        rows.append(Layer(name, shape, parameters, macs))
    return rows


def _scaled(layer: WeightLayer, width: float) -> WeightLayer:
    return replace(layer, outputs=layer.outputs and max(1, round(layer.outputs * width)))


def _pooled(side: int) -> int:
    """Windows along a side, the last of which may be partial: 32 -> 16 -> 8 -> 4."""
    return max(0, math.ceil((side - POOLING_WINDOW) / POOLING_STRIDE) + 1)
