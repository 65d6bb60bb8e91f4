"""The network of section 3.5.

The default variant, `paper`, for one 224 x 224 image; channels are kept as [column a | column b]:

    layer  kernel/stride, padding   columns  output        parameters   weights     biases
    conv1  11x11/4, 3 right+bottom  joint    96 x 55 x 55      34,944   N(0, .01²)  0
           ReLU, normalisation, 3x3/2 max pooling -> 96 x 27 x 27
    conv2  5x5/1, 2                 own      256 x 27 x 27    307,456   N(0, .01²)  1
           ReLU, normalisation, 3x3/2 max pooling -> 256 x 13 x 13
    conv3  3x3/1, 1                 both     384 x 13 x 13    885,120   N(0, .03²)  0
    conv4  3x3/1, 1                 own      384 x 13 x 13    663,936   N(0, .03²)  1
    conv5  3x3/1, 1                 own      256 x 13 x 13    442,624   N(0, .03²)  1
           ReLU after each, after conv5 also 3x3/2 max pooling -> 256 x 6 x 6
    fc6    9216 -> 4096             both     4096          37,752,832   N(0, .01²)  1
    fc7    4096 -> 4096             both     4096          16,781,312   N(0, .01²)  1
           ReLU and dropout after each
    fc8    4096 -> 1000             both     1000           4,097,000   N(0, .01²)  0

60,965,224 parameters, 724,406,816 multiply-adds, 659,272 neurons.

The network takes raw RGB pixels, 0 to 255, and subtracts the training set's mean itself.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from alexnet.draws import Purpose, words
from alexnet.errors import UserError
from alexnet.model.changes import resized
from alexnet.model.layers import (
    KERNELS,
    STRIDES,
    is_within_column,
    layer_table,
    overhang,
    paddings,
)
from alexnet.model.normalization import LocalResponseNorm, SameMapNorm
from alexnet.model.pixels import ACTIVATIONS, PixelNetwork
from alexnet.model.segments import fused_stage, segments
from alexnet.model.variants import VARIANTS, WEIGHT_LAYERS, Variant
from alexnet.ops import convolution, dropout_mask, narrow, run_stage
from alexnet.suggest import unknown

# Mean of the training images per channel, RGB (cuda-convnet2, make-data/input_meta).
IMAGENET_MEAN = (127.305, 119.715, 104.913)
# What torch has in each module.
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class AlexNet(PixelNetwork):
    """The network a variant describes.

    Args:
        variant: a name in the table of variants, or a variant.
        num_classes: outputs of fc8.
        image_size: side of the images in pixels; by default the variant's.
        seed: of the initial weights, which are a pure function of it; None leaves them as they
            come, for weights that are loaded.

    Raises:
        UserError: unknown variant, no class, or an image too small for the network.

    Attributes:
        conv1 … conv5, fc6, fc7, fc8: the layers with `weight` and `bias`; the rest as for
            `PixelNetwork`.
    """

    conv1: "Convolution"  # which knows by how much its last window hangs over
    conv2: nn.Conv2d
    conv3: nn.Conv2d
    conv4: nn.Conv2d
    conv5: nn.Conv2d
    fc6: nn.Linear
    fc7: nn.Linear
    fc8: nn.Linear

    def __init__(
        self,
        variant: str | Variant = "paper",
        num_classes: int = 1000,
        image_size: int | None = None,
        seed: int | None = 0,
    ) -> None:
        if isinstance(variant, str):
            if variant not in VARIANTS:
                raise UserError(unknown("variant", variant, VARIANTS))
            variant = VARIANTS[variant]
        variant = resized(variant, image_size=image_size)
        side = variant.image_size
        stored_size = round(side * 256 / 224)  # section 2's 256 for section 3.5's 224
        super().__init__(num_classes, side, IMAGENET_MEAN, stored_size)
        self.variant = variant
        self._add_stages(num_classes)
        self._segments = segments(variant)
        if seed is not None:
            self.initialize(seed)

    def _add_stages(self, num_classes: int) -> None:
        variant = self.variant
        channels: tuple[int, ...] = (3, variant.image_size, variant.image_size)
        for layer in layer_table(variant, num_classes):
            number = int(layer.name[-1])
            if layer.name.startswith("conv"):
                stage: nn.Module = _convolution(variant, layer.name, channels[0], layer.output[0])
            elif layer.name.startswith("fc"):
                stage = _fully_connected(variant, layer.name, channels, layer.output[0])
            elif layer.name.startswith("relu"):
                stage = ACTIVATIONS[variant.activation]()
            elif layer.name.startswith("norm"):
                stage = LocalResponseNorm(variant.normalization, variant.columns)
            elif layer.name.startswith("mapnorm"):
                stage = SameMapNorm()
            elif layer.name.startswith("pool"):
                stage = nn.MaxPool2d(
                    variant.pooling_window,
                    variant.pooling_stride,
                    ceil_mode=variant.pooling_overhang,
                )
            else:
                stage = Dropout(variant.dropout, variant.dropout_scaling, number)
            self.add_module(layer.name, stage)
            channels = layer.output

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Draw the initial weights of section 5 by the variant's table, from `seed` alone."""
        variant = self.variant
        layers = np.arange(len(WEIGHT_LAYERS))
        layer_seeds = words(seed, Purpose.WEIGHTS, 0, layers, 1)[:, 0]
        for index, name in enumerate(WEIGHT_LAYERS):
            if name not in variant.order:
                continue
            layer = self.get_submodule(name)
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            assert layer.bias is not None
            generator = torch.Generator().manual_seed(int(layer_seeds[index]))
            fan_in_bound = layer.weight[0].numel() ** -0.5
            if variant.weight_std is None:
                layer.weight.uniform_(-fan_in_bound, fan_in_bound, generator=generator)
            else:
                layer.weight.normal_(0.0, variant.weight_std[index], generator=generator)
            if variant.bias is None:
                layer.bias.uniform_(-fan_in_bound, fan_in_bound, generator=generator)
            else:
                layer.bias.fill_(variant.bias[index])

    def forward(self, images: Tensor, keys: Tensor | None = None) -> Tensor:
        """Logits of a batch of images.

        Args:
            images: (N, 3, S, S) RGB, 0..255, uint8 or float; S is the variant's image size.
            keys: (N, 2) int64, each sample's dropout key (`alexnet.draws.sample_keys`). Without
                it, training mode draws one from torch's own generator.

        Returns:
            (N, num_classes) logits.
        """
        if torch.compiler.is_compiling() or self._is_watched():
            return next(reversed(self.activations(images, keys).values()))
        keys = self._keys(images, keys)
        x = self._first_input(images)
        for names in self._segments:
            stage = fused_stage([self.get_submodule(name) for name in names])
            if stage is not None:
                x = run_stage(x, stage)
                continue
            for name in names:
                x = self._stage(name, x, keys)
        return x

    def activations(self, images: Tensor, keys: Tensor | None = None) -> OrderedDict[str, Tensor]:
        """The output of every named stage, in order; arguments as for `forward`."""
        return OrderedDict(self._run(images, keys))

    def _run(self, images: Tensor, keys: Tensor | None) -> Iterator[tuple[str, Tensor]]:
        keys = self._keys(images, keys)
        x = self._first_input(images)
        for name in self.variant.order:
            x = self._stage(name, x, keys)
            yield name, x

    def _first_input(self, images: Tensor) -> Tensor:
        """Without the mean, and with the zeros onto which conv1 hangs over, in one pass."""
        return self._centered(images, self.conv1.overhang(images.shape[-1]))

    def _stage(self, name: str, x: Tensor, keys: Tensor | None) -> Tensor:
        stage = self.get_submodule(name)
        result: Tensor = stage(x, keys) if isinstance(stage, Dropout) else stage(x)
        return result

    def _keys(self, images: Tensor, keys: Tensor | None) -> Tensor | None:
        if self.training and keys is None:
            return torch.randint(2**32, (len(images), 2), device=images.device)
        return keys

    def _is_watched(self) -> bool:
        """Whether somebody hooked a stage: then each stage must run by itself."""
        everywhere = _has_any_global_hook()  # type: ignore[no-untyped-call]
        return bool(everywhere) or any(
            getattr(stage, hooks) for stage in self.children() for hooks in _HOOKS
        )


class Convolution(nn.Conv2d):
    """A convolution whose last window may hang over the right and bottom edge, onto zeros.

    The zeros stand for the mean pixel, because the mean has been subtracted before.

    Attributes:
        hangs_over: whether it does; only conv1 of 2012 has windows left for it.
        form: which of its equal forms it computes in (`alexnet.ops.convolution`).
    """

    hangs_over = False
    form = "plain"

    def overhang(self, side: int) -> int:
        """Pixels by which the last window hangs over."""
        stride = int(self.stride[0])
        return overhang(side, int(self.kernel_size[0]), stride) if self.hangs_over else 0

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S) -> (N, K, S', S'); S' = 1 + ceil((S - 11) / 4) for conv1 of 2012."""
        extra = self.overhang(x.shape[-1])
        if extra:
            x = F.pad(x, (0, extra, 0, extra))
        assert self.bias is not None
        stride, padding = int(self.stride[0]), int(self.padding[0])
        return convolution(x, self.weight, self.bias, stride, padding, self.groups, self.form)


class FullyConnected(nn.Linear):
    """A layer that sees every unit below it, whatever their arrangement."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, *) -> (N, units)."""
        return F.linear(x.flatten(1), narrow(self.weight), self.bias)


class ColumnsConnected(nn.Linear):
    """Fully connected inside each column: (K, units below in a column) weights."""

    def __init__(self, inputs: int, outputs: int, columns: int) -> None:
        super().__init__(inputs // columns, outputs)
        self.columns = columns

    def forward(self, x: Tensor) -> Tensor:
        """(N, *) -> (N, units), each column's from its own units below."""
        by_column = x.reshape(len(x), self.columns, self.in_features).transpose(0, 1)
        weight = self.weight.view(self.columns, -1, self.in_features)  # (columns, units, inputs)
        products = torch.bmm(by_column, weight.transpose(1, 2))  # (columns, N, units each)
        return products.transpose(0, 1).flatten(1) + self.bias


class Dropout(nn.Module):
    """Section 4.2: set outputs to zero with some probability while training.

    `scaling` says when the remaining signal is brought to the same size: "test" multiplies by the
    keep probability at test time, as in 2012; "train" divides by it while training, as today.
    """

    def __init__(self, probability: float, scaling: str, layer: int) -> None:
        super().__init__()
        self.probability = probability
        self.scaling = scaling
        self.layer = layer
        self.first_unit = 0  # where a device holds only some of the layer's units

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        """(N, *) -> the same; `keys` as in `AlexNet.forward`."""
        keep = 1.0 - self.probability
        if not self.training:
            return x * keep if self.scaling == "test" else x
        assert keys is not None
        units = math.prod(x.shape[1:])
        mask = dropout_mask(keys, units, self.probability, self.layer, self.first_unit).view_as(x)
        return x * mask if self.scaling == "test" else x * mask / keep


def _convolution(variant: Variant, name: str, inputs: int, outputs: int) -> Convolution:
    layer = Convolution(
        inputs,
        outputs,
        KERNELS[name],
        STRIDES[name],
        paddings(variant)[name],
        groups=variant.columns if is_within_column(variant, name) else 1,
    )
    layer.hangs_over = name == "conv1" and variant.conv1_overhang
    return layer


def _fully_connected(
    variant: Variant, name: str, inputs: tuple[int, ...], outputs: int
) -> FullyConnected | ColumnsConnected:
    if is_within_column(variant, name):
        return ColumnsConnected(int(np.prod(inputs)), outputs, variant.columns)
    return FullyConnected(int(np.prod(inputs)), outputs)
