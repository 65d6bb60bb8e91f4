"""The authors' networks for CIFAR-10 (table and sources: cifar_variants.py).

`cifar-18` for one 32 x 32 image; `cifar-19` is the same without normalisation:

    conv1  5x5, 2    32 x 32 x 32    2,432   N(0, .0001²)   ReLU, 3x3/2 max, map norm -> 16 x 16
    conv2  5x5, 2    32 x 16 x 16   25,632   N(0, .01²)     ReLU, 3x3/2 mean, map norm -> 8 x 8
    conv3  5x5, 2    64 x  8 x  8   51,264   N(0, .01²)     ReLU, 3x3/2 mean -> 4 x 4
    fc10             10             10,250   N(0, .01²)                               total 89,578

`cifar-11` for one 24 x 24 image; `cifar-13` is the same without normalisation, with half of local3:

    conv1  5x5, 2    64 x 24 x 24    4,864   N(0, .0001²)   ReLU, 3x3/2 max, norm -> 12 x 12
    conv2  5x5, 2    64 x 12 x 12  102,464   N(0, .01²)     ReLU, norm, 3x3/2 max -> 6 x 6
    local3 3x3, 1    64 x  6 x  6  1,329,408  N(0, .04²)    ReLU
    local4 3x3, 1    32 x  6 x  6  664,704   N(0, .04²)     ReLU
    fc10             10             11,530   N(0, .01²)                            total 2,112,970

All biases begin at 0. These networks take raw pixels and subtract the mean, as `AlexNet` does.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from alexnet.draws import Purpose, words
from alexnet.errors import UserError
from alexnet.model.cifar_variants import (
    CIFAR_VARIANTS,
    KERNELS,
    POOLING_STRIDE,
    POOLING_WINDOW,
    CifarVariant,
    cifar_layer_table,
)
from alexnet.model.network import FullyConnected
from alexnet.model.normalization import LocalResponseNorm
from alexnet.model.pixels import ACTIVATIONS, PixelNetwork
from alexnet.ops import local_convolution, same_map_norm
from alexnet.suggest import unknown

CIFAR10_MEAN = (125.3, 123.0, 113.9)  # of the 50,000 training images per channel, RGB


class CifarNet(PixelNetwork):
    """A network for small images, used as `AlexNet` is: same arguments, attributes and calls.

    Raises:
        UserError: unknown variant, or an image too small for the network.
    """

    conv1: nn.Conv2d

    def __init__(
        self,
        variant: str | CifarVariant = "cifar-18",
        num_classes: int = 10,
        image_size: int | None = None,
        seed: int | None = 0,
    ) -> None:
        if isinstance(variant, str):
            if variant not in CIFAR_VARIANTS:
                raise UserError(unknown("variant", variant, CIFAR_VARIANTS))
            variant = CIFAR_VARIANTS[variant]
        if image_size is not None:
            variant = replace(variant, image_size=image_size)
        side = variant.image_size
        super().__init__(num_classes, side, CIFAR10_MEAN, stored_size=32)
        self.variant = variant
        inputs: tuple[int, ...] = (3, side, side)
        for layer in cifar_layer_table(variant, num_classes):
            self.add_module(layer.name, _stage(variant, layer.name, inputs, layer.output))
            inputs = layer.output
        if seed is not None:
            self.initialize(seed)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Draw the initial weights by the variant's table, from `seed` alone."""
        layers = self.variant.layers
        seeds = words(seed, Purpose.WEIGHTS, 0, np.arange(len(layers)), 1)[:, 0]
        for layer, layer_seed in zip(layers, seeds, strict=True):
            module = self.get_submodule(layer.name)
            generator = torch.Generator().manual_seed(int(layer_seed))
            module.get_parameter("weight").normal_(0.0, layer.weight_std, generator=generator)
            module.get_parameter("bias").zero_()

    def forward(self, images: Tensor, keys: Tensor | None = None) -> Tensor:
        """Logits, (N, num_classes), of images, (N, 3, S, S) RGB, 0..255, uint8 or float.

        `keys` is there for the sake of callers that know `AlexNet`: nothing here is random.
        """
        x = images
        for _, stage_output in self._run(images):
            x = stage_output
        return x

    def activations(self, images: Tensor, keys: Tensor | None = None) -> OrderedDict[str, Tensor]:
        """The output of every named stage, in order; arguments as for `forward`."""
        return OrderedDict(self._run(images))

    def _run(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        x = self._centered(images)
        for name in self.variant.order:
            x = self.get_submodule(name)(x)
            yield name, x


class LocalConv2d(nn.Module):
    """A 3x3 convolution with weights and biases of its own at every position.

    Attributes:
        weight: (H * W, C * 9, K), bias: (H * W, K), as `local_convolution` takes them.
    """

    def __init__(self, inputs: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        channels, height, width = inputs
        fan_in = channels * KERNELS["local"] ** 2
        self.weight = nn.Parameter(torch.empty(height * width, fan_in, outputs))
        self.bias = nn.Parameter(torch.empty(height * width, outputs))
        bound = 1.0 / math.sqrt(fan_in)  # torch's default, until `initialize` draws
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, H, W)."""
        return local_convolution(x, self.weight, self.bias, KERNELS["local"])


class MapNorm(nn.Module):
    """cuda-convnet's `rnorm`: x / (1 + scale / size² * sum of x² over the window)^0.75."""

    def __init__(self, window: int, scale: float) -> None:
        super().__init__()
        self.window, self.scale = window, scale

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        return same_map_norm(x, self.window, self.scale)


def _stage(
    variant: CifarVariant, name: str, inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> nn.Module:
    kind = name.rstrip("0123456789")
    if kind == "conv":
        return nn.Conv2d(inputs[0], outputs[0], KERNELS["conv"], padding=KERNELS["conv"] // 2)
    if kind == "local":
        return LocalConv2d(inputs, outputs[0])
    if kind == "fc":
        return FullyConnected(math.prod(inputs), outputs[0])
    if kind == "pool":
        pooling = nn.AvgPool2d if name in variant.average_pooling else nn.MaxPool2d
        return pooling(POOLING_WINDOW, POOLING_STRIDE, ceil_mode=True)
    if kind == "norm":
        return LocalResponseNorm(variant.normalization, variant.columns)
    if kind == "mapnorm":
        return MapNorm(variant.map_window, variant.map_scale)
    return ACTIVATIONS[variant.activation]()
