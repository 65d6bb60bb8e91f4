"""The arithmetic of layers: shapes, parameters and multiply-adds of a variant. Free of torch."""

import math
from dataclasses import dataclass

from alexnet.errors import UserError
from alexnet.model.variants import WEIGHT_LAYERS, Variant

KERNELS = {"conv1": 11, "conv2": 5, "conv3": 3, "conv4": 3, "conv5": 3}  # section 3.5
STRIDES = {"conv1": 4, "conv2": 1, "conv3": 1, "conv4": 1, "conv5": 1}
# Which layers see only the kernel maps of their own column; conv3 and fc6..fc8 see all (Figure 2).
WITHIN_COLUMN = ("conv2", "conv4", "conv5")


@dataclass(frozen=True)
class Layer:
    """One stage of the network for one image."""

    name: str
    output: tuple[int, ...]  # (C, H, W), or (units,) from fc6 on
    parameters: int
    macs: int  # multiply-adds

    @property
    def fan_in(self) -> int:
        """Inputs that one output of a convolution or a fully connected layer adds up."""
        return self.parameters // self.output[0] - 1


def paddings(variant: Variant) -> dict[str, int]:
    """Zeros around the input of each convolution, pixels."""
    return {
        "conv1": variant.conv1_padding,
        "conv2": variant.conv2_padding,
        "conv3": 1,
        "conv4": 1,
        "conv5": variant.conv5_padding,
    }


def layer_table(variant: Variant, num_classes: int = 1000) -> list[Layer]:
    """Every stage of the variant in order.

    Raises:
        UserError: the image is too small to leave 1x1 after the last pooling layer.
    """
    rows: list[Layer] = []
    shape: tuple[int, ...] = (3, variant.image_size, variant.image_size)
    for name in variant.order:
        inputs = shape
        parameters = macs = 0
        if name.startswith("conv"):
            shape = (_width(variant, name), *_sides(variant, name, inputs))
            fan_in = inputs[0] // _groups(variant, name) * KERNELS[name] ** 2
            parameters = shape[0] * (fan_in + 1)
            macs = math.prod(shape) * fan_in
        elif name.startswith("pool"):
            shape = (inputs[0], *_sides(variant, name, inputs))
        elif name.startswith("fc"):
            shape = (_units(variant, name, num_classes),)
            macs = math.prod(inputs) // _groups(variant, name) * shape[0]
            parameters = macs + shape[0]
        if min(shape) < 1:
            raise UserError(
                f"an image of {variant.image_size} pixels is too small for the network: "
                f"nothing is left after {name}; use at least {smallest_image(variant)} pixels"
            )
        rows.append(Layer(name, shape, parameters, macs))
    return rows


def neurons(table: list[Layer]) -> int:
    """Outputs of the layers with weights, as the paper counts neurons (section 3.5)."""
    return sum(math.prod(layer.output) for layer in table if layer.parameters)


def smallest_image(variant: Variant) -> int:
    """The smallest side, in pixels, that leaves 1x1 after the last pooling layer."""
    return next(size for size in range(1, 1000) if _fits(variant, size))


def is_within_column(variant: Variant, name: str) -> bool:
    """Whether a layer sees only the maps or units of its own column."""
    if variant.exchange:
        return name in WITHIN_COLUMN
    return name not in ("conv1", "fc8")


def overhang(size: int, kernel: int, stride: int) -> int:
    """Pixels by which the last window of conv1 hangs over the right and bottom edge.

    The authors count windows as 1 + ceil((size - kernel) / stride) (layer.py, line 1004): 55
    windows and an overhang of 3 pixels for 224.
    """
    return max(0, math.ceil((size - kernel) / stride)) * stride + kernel - size


def _fits(variant: Variant, size: int) -> bool:
    shape: tuple[int, ...] = (3, size, size)
    for name in variant.order:
        if name.startswith(("conv", "pool")):
            shape = (1, *_sides(variant, name, shape))
            if min(shape) < 1:
                return False
    return True


def _width(variant: Variant, name: str) -> int:
    return variant.widths[WEIGHT_LAYERS.index(name)]


def _units(variant: Variant, name: str, num_classes: int) -> int:
    if name == "fc8":
        return num_classes
    return variant.fc6_hidden or variant.hidden if name == "fc6" else variant.hidden


def _groups(variant: Variant, name: str) -> int:
    return variant.columns if is_within_column(variant, name) else 1


def _sides(variant: Variant, name: str, inputs: tuple[int, ...]) -> tuple[int, int]:
    if name.startswith("pool"):
        rounding = math.ceil if variant.pooling_overhang else math.floor
        kernel, stride, padding = variant.pooling_window, variant.pooling_stride, 0
    else:
        rounding = math.ceil if name == "conv1" and variant.conv1_overhang else math.floor
        kernel, stride, padding = KERNELS[name], STRIDES[name], paddings(variant)[name]
    free = inputs[1] + 2 * padding - kernel
    side = max(0, rounding(free / stride) + 1)
    return side, side
