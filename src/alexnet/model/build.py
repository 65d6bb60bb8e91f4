"""From a variant of either table to its network."""

from alexnet.model.catalog import AnyVariant
from alexnet.model.cifar import CifarNet
from alexnet.model.cifar_variants import CifarVariant
from alexnet.model.network import AlexNet

Network = AlexNet | CifarNet


def build_network(variant: AnyVariant, num_classes: int, seed: int | None = 0) -> Network:
    """The network of a variant; arguments and errors as for the classes themselves."""
    if isinstance(variant, CifarVariant):
        return CifarNet(variant, num_classes, seed=seed)
    return AlexNet(variant, num_classes, seed=seed)
