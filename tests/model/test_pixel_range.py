"""In what range pixels come: 0..255, and whoever gives 0..1 is told once."""

import pytest
import torch
from torch import Tensor

from alexnet.model.changes import resized
from alexnet.model.cifar import CifarNet
from alexnet.model.network import AlexNet
from alexnet.model.variants import VARIANTS


@pytest.fixture
def network() -> AlexNet:
    return AlexNet(resized(VARIANTS["paper"], 1 / 32, 64), num_classes=2).eval()


def dim(count: int = 2, side: int = 64) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_pixels_up_to_1_are_warned_of_once(network: AlexNet) -> None:
    with pytest.warns(UserWarning, match=r"takes RGB in 0\.\.255, not in 0\.\.1"):
        network(dim().requires_grad_())
    network.activations(dim())
    other = CifarNet("cifar-18", 2)
    with pytest.warns(UserWarning, match="no pixel is above"):
        other(dim(side=other.variant.image_size))


def test_other_pixels_are_not(network: AlexNet) -> None:
    network(dim(0))
    network(torch.zeros(1, 3, 64, 64))
    network(torch.ones(1, 3, 64, 64, dtype=torch.uint8))
    network(255.0 * dim())
    network(dim())  # of a network that is fed well nobody looks again, as in a training


def test_images_that_are_transformed_are_not_looked_at(network: AlexNet) -> None:
    torch.func.vmap(network)(dim()[:, None])  # where a maximum could not be asked for
