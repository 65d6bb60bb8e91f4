"""The paper's two devices (Figure 2): one column of the network per process.

What each of two processes holds of the variant `paper`, and what passes between them for N images:

    layer          holds                       exchanges before it         each way, activations
    conv1, conv2   48, 128 kernels             -
    conv3          192 kernels over 256 maps   pool2: 128 maps             N x 128 x 13 x 13
    conv4, conv5   192, 128 kernels            -
    fc6            2048 units over 9216        pool5: 128 maps             N x 128 x 6 x 6
    fc7            2048 units over 4096        fc6's 2048 units            N x 2048
    fc8            500 units over 4096         fc7's 2048 units            N x 2048
    the loss       all 1000 logits             500 logits, forward only    N x 500

The backward pass of an exchange returns to each column the gradient of its own maps, as the sum of
what all columns need of them: the same numbers the other way. The loss is computed on every column
from the same logits, so its gradient is the same everywhere and nothing is sent. Normalisation
never crosses the boundary between columns, so it needs no exchange.

Several pairs of columns share a batch as data-parallel replicas do: see `replicas.py`.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from alexnet.errors import UserError
from alexnet.model.catalog import AnyVariant
from alexnet.model.layers import layer_table
from alexnet.model.network import AlexNet, Dropout
from alexnet.model.variants import WEIGHT_LAYERS
from alexnet.parallel.exchange import Link, gather_units
from alexnet.parallel.joined import Joined, range_of, shares
from alexnet.parallel.parts import Part, parts_of_rows
from alexnet.parallel.volume import why_not_by_column

_JOINED = ("conv3", "fc6", "fc7", "fc8")


def check_columns(variant: AnyVariant) -> None:
    """Whether the variant's columns can be taken apart.

    Raises:
        UserError: it has one column, other layers than the paper's, or its normalisation sees both.
    """
    if reason := why_not_by_column(variant):
        raise UserError(reason)


class Column(nn.Module):
    """One column of a network, which answers for all of it.

    Args:
        whole: the network; its parameters are copied from.
        link: to the processes that hold the other columns.
    """

    def __init__(self, whole: AlexNet, link: Link) -> None:
        super().__init__()
        variant = whole.variant
        check_columns(variant)
        columns = variant.columns
        self.link = link
        self.classes = shares(whole.num_classes, columns)
        self._wholes = {name: _layer(whole, name).weight.shape for name in WEIGHT_LAYERS}
        self.network = _own_layers(whole, link, self.classes)
        maps = {
            "conv3": variant.widths[1],
            "fc6": variant.widths[4],
            "fc7": variant.hidden,
            "fc8": variant.hidden,
        }
        for name in _JOINED:
            layer = _layer(whole, name)
            outputs = self.classes if name == "fc8" else shares(layer.weight.shape[0], columns)
            joined = Joined(layer, link, outputs, shares(maps[name], columns))
            self.network.add_module(name, joined)

    def forward(self, images: Tensor, keys: Tensor | None = None) -> Tensor:
        """All logits, (N, num_classes); arguments as for `AlexNet.forward`."""
        return gather_units(self.network(images, keys), self.link, self.classes)

    def parts(self) -> list[Part]:
        """Where the parameters of this column lie in the whole network."""
        found = []
        for name, shape in self._wholes.items():
            layer = self.network.get_submodule(name)
            if isinstance(layer, Joined):
                found += layer.parts(name)
                continue
            rows = range_of(self.link.rank, [shape[0] // self.link.size] * self.link.size)
            found += parts_of_rows(name, layer, shape, rows)
        return found


def _own_layers(whole: AlexNet, link: Link, classes: list[int]) -> AlexNet:
    """A network of one column's widths, with this column's kernels where it needs no other's."""
    variant, columns = whole.variant, whole.variant.columns
    narrow = replace(
        variant,
        columns=1,
        widths=tuple(width // columns for width in variant.widths),
        hidden=variant.hidden // columns,
    )
    with torch.device("meta"):
        network = AlexNet(narrow, num_classes=classes[link.rank], seed=None)
    network.mean = whole.mean
    for name in WEIGHT_LAYERS:
        if name not in _JOINED:
            layer, source = _layer(network, name), _layer(whole, name)
            rows = range_of(link.rank, shares(len(source.weight), columns))
            assert source.bias is not None
            layer.weight = nn.Parameter(source.weight.detach()[rows].clone())
            layer.bias = nn.Parameter(source.bias.detach()[rows].clone())
    for row in layer_table(narrow, classes[link.rank]):
        stage = network.get_submodule(row.name)
        if isinstance(stage, Dropout):
            stage.first_unit = link.rank * math.prod(row.output)
    return network


def _layer(network: AlexNet, name: str) -> nn.Conv2d | nn.Linear:
    layer = network.get_submodule(name)
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    return layer
