"""What a configuration may change of a variant, and what follows from it. Free of torch."""

import math
from dataclasses import fields, replace
from itertools import product
from typing import Any

from alexnet.config import ModelConfig
from alexnet.errors import UserError
from alexnet.model.layers import layer_table
from alexnet.model.variants import VARIANTS, WEIGHT_LAYERS, Variant
from alexnet.suggest import unknown


def resolve(config: ModelConfig) -> Variant:
    """The variant a configuration names, with the configuration's changes applied.

    Raises:
        UserError: no variant has that name, or a change is impossible.
    """
    if config.variant not in VARIANTS:
        raise UserError(unknown("variant", config.variant, VARIANTS))
    variant = VARIANTS[config.variant]
    if config.activation is not None:
        variant = replace(variant, activation=config.activation)
    if config.normalization and not any("norm" in stage for stage in variant.order):
        raise UserError(
            f"{variant.name} has no normalization to switch on; use a variant that has it: paper"
        )
    if config.normalization is False:
        variant = replace(
            variant, order=tuple(stage for stage in variant.order if "norm" not in stage)
        )
    if config.columns is not None:
        variant = replace(variant, columns=config.columns)
    if config.dropout is not None:
        variant = replace(variant, dropout=config.dropout)
    if any(channels % variant.columns for channels in variant.widths):
        raise UserError(
            f"model.columns={variant.columns} does not divide the widths of {variant.name}, "
            f"{', '.join(map(str, variant.widths))}; use 1 or 2"
        )
    variant = resized(variant, config.width, config.image_size)
    if config.pooling == "non-overlapping":
        variant = without_overlap(variant)
    if config.initial_scale != 1.0:
        variant = with_initial_scale(variant, config.initial_scale)
    return variant


def without_overlap(variant: Variant) -> Variant:
    """Section 3.4's comparison, z = s = 2: "produces output of equivalent dimensions".

    Smaller windows leave more of them, so a convolution before pooling gives up a pixel of padding
    where that keeps the map after it as large as it was, and with it the number of parameters. At
    224 pixels that is so for conv2 and conv5, as in the authors' layers-147.cfg.

    Raises:
        UserError: no padding does that.
    """
    wanted = _pooled(variant)
    paddings = product(*((p, p - 1) for p in (variant.conv2_padding, variant.conv5_padding)))
    candidates = [
        replace(variant, pooling_window=2, conv2_padding=conv2, conv5_padding=conv5)
        for conv2, conv5 in paddings
    ]
    for candidate in candidates:
        if _pooled(candidate) == wanted:
            return candidate
    raise UserError(
        f"pooling without overlap would change the size of {variant.name} at "
        f"{variant.image_size} pixels; use another model.variant or model.image_size"
    )


def _pooled(variant: Variant) -> list[tuple[int, ...]]:
    """The maps after pooling layers 2 and 5."""
    return [layer.output for layer in layer_table(variant) if layer.name in ("pool2", "pool5")]


def with_initial_scale(variant: Variant, scale: float) -> Variant:
    """The same network with the deviations of its initial weights multiplied."""
    if variant.weight_std is None:
        raise UserError(
            f"the initial weights of {variant.name} follow from its fan-in; model.initial_scale "
            "needs a variant that says their deviation: paper"
        )
    return replace(variant, weight_std=tuple(scale * std for std in variant.weight_std))


def resized(variant: Variant, width: float = 1.0, image_size: int | None = None) -> Variant:
    """The same network with every layer's width multiplied, or for images of another size.

    Columns stay equally wide. Initial weights above conv1 change with the root of the number of
    inputs that a unit adds up, so that signals are as large as in the network as it was, and it
    learns as soon: at 64 pixels fc6 has a 36th of its inputs.

    Args:
        variant: any.
        width: multiplies the number of maps and of hidden units.
        image_size: side in pixels; None: as it was.

    Raises:
        UserError: the images are too small.
    """
    image_size = variant.image_size if image_size is None else image_size
    if width == 1.0 and image_size == variant.image_size:
        return variant

    def scale(channels: int) -> int:
        return max(1, round(channels * width / variant.columns)) * variant.columns

    changed = replace(
        variant,
        widths=tuple(scale(channels) for channels in variant.widths),
        hidden=scale(variant.hidden),
        fc6_hidden=scale(variant.fc6_hidden) if variant.fc6_hidden else None,
        image_size=image_size,
    )
    if variant.weight_std is None:  # torch's rule, which follows the number of inputs by itself
        return changed
    before, after = _fan_ins(variant), _fan_ins(changed)
    weight_std = (
        std * math.sqrt(before[name] / after[name]) if name in before else std
        for name, std in zip(WEIGHT_LAYERS, variant.weight_std, strict=True)
    )
    return replace(changed, weight_std=tuple(weight_std))


def _fan_ins(variant: Variant) -> dict[str, int]:
    return {layer.name: layer.fan_in for layer in layer_table(variant) if layer.parameters}


def differences(a: Any, b: Any) -> list[tuple[str, Any, Any]]:
    """(field, value in a, value in b) for every field that two variants have and differ in."""
    return [
        (field.name, getattr(a, field.name), getattr(b, field.name))
        for field in fields(a)
        if hasattr(b, field.name)
        and getattr(a, field.name) != getattr(b, field.name)
        and field.name not in ("name", "summary")
    ]
