"""Layers that see the maps or units of other processes: Figure 2's lines between the columns.

A joined layer holds the output units of its process and, for these, the weights from its own
inputs and those from the others' inputs as two parameters. While the others' inputs travel, the
first product is computed; autograd overlaps the way back (see `exchange`). The two sums are those
of the whole layer, added in another order.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.parallel.exchange import Link, begin, end
from alexnet.parallel.parts import Part


class Joined(nn.Module):
    """One process's part of a convolution or fully connected layer that sees all inputs.

    Args:
        whole: the layer with all its outputs and inputs.
        link: to the processes with the other parts.
        outputs: output maps or units of each rank.
        inputs: input maps or units of each rank.
    """

    def __init__(
        self,
        whole: nn.Conv2d | nn.Linear,
        link: Link,
        outputs: Sequence[int],
        inputs: Sequence[int],
    ) -> None:
        super().__init__()
        assert whole.bias is not None
        self.link = link
        self.inputs = tuple(inputs)
        self.is_convolution = isinstance(whole, nn.Conv2d)
        if isinstance(whole, nn.Conv2d):
            self.stride, self.padding = whole.stride, whole.padding
        self._shapes = (whole.weight.shape, whole.bias.shape)
        self._rows = range_of(link.rank, outputs)
        mine, before = range_of(link.rank, self._input_units()), link.rank > 0
        after = slice(mine.stop, whole.weight.shape[1])
        self._mine = (mine,)
        self._others = (*([slice(0, mine.start)] if before else []), after)
        with torch.no_grad():
            rows = whole.weight[self._rows]
            self.own = nn.Parameter(rows[:, mine].clone())
            self.others = nn.Parameter(torch.cat([rows[:, other] for other in self._others], 1))
            self.bias = nn.Parameter(whole.bias[self._rows].clone())

    def forward(self, x: Tensor) -> Tensor:
        """(N, own inputs, *) -> (N, own outputs, *)."""
        if not self.is_convolution and x.ndim > 2:
            x = x.flatten(1)
        flight = begin(x, self.link, self._input_units())
        y = self._product(x, self.own, self.bias)
        return y + self._product(end(flight), self.others, None)

    def parts(self, layer: str) -> list[Part]:
        """Where the three parameters lie in the whole layer."""
        weight, bias = self._shapes
        return [
            Part(layer, False, self.own, weight, self._rows, self._mine),
            Part(layer, False, self.others, weight, self._rows, self._others),
            Part(layer, True, self.bias, bias, self._rows),
        ]

    def _input_units(self) -> list[int]:
        """Inputs of each rank as the weights count them: a map of 6 x 6 is 36 units of fc6."""
        per_map = 1 if self.is_convolution else self._shapes[0][1] // sum(self.inputs)
        return [width * per_map for width in self.inputs]

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.is_convolution:
            return F.conv2d(x, weight, bias, self.stride, self.padding)
        return F.linear(x, weight, bias)


def range_of(rank: int, widths: Sequence[int]) -> slice:
    """Where a rank's maps or units lie among all."""
    return slice(sum(widths[:rank]), sum(widths[: rank + 1]))


def shares(units: int, size: int) -> list[int]:
    """So many units dealt out evenly; the first ranks take what is over."""
    return [units // size + (rank < units % size) for rank in range(size)]
