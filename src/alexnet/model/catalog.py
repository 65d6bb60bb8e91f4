"""Every network there is, by name: the ImageNet nets of variants.py and the CIFAR-10 nets.

What a caller may rely on is the same for all: `variant` (with `image_size`, `activation`,
`columns`, `order`, `weight_layers`), `num_classes`, `classes`, `mean`, `stored_size`,
`training_data`, `forward`, `activations`, and a `conv1`. Free of torch.
"""

from typing import Any

from alexnet.config import ModelConfig
from alexnet.errors import UserError
from alexnet.model import changes, layers
from alexnet.model.cifar_variants import (
    CIFAR_VARIANTS,
    CifarVariant,
    WeightLayer,
    cifar_layer_table,
    resolve_cifar,
)
from alexnet.model.layers import Layer
from alexnet.model.variants import VARIANTS, Normalization, Variant
from alexnet.suggest import unknown

AnyVariant = Variant | CifarVariant
ALL_VARIANTS: dict[str, AnyVariant] = {**VARIANTS, **CIFAR_VARIANTS}


def resolve(config: ModelConfig) -> AnyVariant:
    """The variant a configuration names, with the configuration's changes applied.

    Raises:
        UserError: no variant has that name, or a change is impossible.
    """
    if config.variant not in ALL_VARIANTS:
        raise UserError(unknown("variant", config.variant, ALL_VARIANTS))
    return resolve_cifar(config) if config.variant in CIFAR_VARIANTS else changes.resolve(config)


def imagenet_variant(name: str) -> Variant:
    """The network for ImageNet of that name: all that plan and bench know.

    Raises:
        UserError: there is none.
    """
    if name in CIFAR_VARIANTS:
        raise UserError(
            f"plan and bench know the networks for ImageNet only: {', '.join(VARIANTS)}; "
            f"{name} is for CIFAR-10"
        )
    if name not in VARIANTS:
        raise UserError(unknown("variant", name, VARIANTS))
    return VARIANTS[name]


def layer_table(variant: AnyVariant, num_classes: int) -> list[Layer]:
    """Every stage of the variant in order; errors as for the table of its kind."""
    if isinstance(variant, CifarVariant):
        return cifar_layer_table(variant, num_classes)
    return layers.layer_table(variant, num_classes)


def from_document(document: dict[str, Any]) -> AnyVariant:
    """A variant from what `dataclasses.asdict` made of it and JSON kept."""
    document = dict(document)
    normalization = Normalization(**document.pop("normalization"))
    lists = {key: tuple(value) for key, value in document.items() if isinstance(value, list)}
    values = {**document, **lists, "normalization": normalization}
    if "layers" in document:
        values["layers"] = tuple(WeightLayer(**layer) for layer in document["layers"])
        return CifarVariant(**values)
    return Variant(**values)
