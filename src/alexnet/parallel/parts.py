"""Which part of which parameter a process holds, and how wholes are made of the parts.

Checkpoints and weight files hold whole parameters in the one-device layout, whatever layout
trained them: that is what lets a run go on under another one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.distributed as dist
from torch import Tensor, nn

from alexnet.parallel.world import sum_over


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows and columns of a parameter of the whole network.

    Attributes:
        layer: conv1 … fc8.
        is_bias: else it is the weight.
        parameter: what this process holds.
        shape: of the whole.
        rows: which output maps or units; None: all.
        columns: which input maps or units, pieces in the order they are held in; empty: all.
    """

    layer: str
    is_bias: bool
    parameter: nn.Parameter
    shape: torch.Size
    rows: slice | None = None
    columns: tuple[slice, ...] = ()

    @property
    def name(self) -> str:
        """The name of the whole parameter, `fc6.weight`."""
        return f"{self.layer}.{'bias' if self.is_bias else 'weight'}"

    @property
    def is_whole(self) -> bool:
        """Whether this process holds all of the parameter."""
        return self.rows is None and not self.columns

    def of(self, whole: Tensor) -> Tensor:
        """This part of a tensor that is shaped like the whole parameter."""
        rows = whole if self.rows is None else whole[self.rows]
        if not self.columns:
            return rows
        return torch.cat([rows[:, columns] for columns in self.columns], 1)

    def put(self, value: Tensor, whole: Tensor) -> None:
        """Write a tensor shaped like the held parameter to its place in the whole."""
        rows = whole if self.rows is None else whole[self.rows]
        if not self.columns:
            rows.copy_(value)
            return
        places = [rows[:, columns] for columns in self.columns]
        for place, piece in zip(
            places, torch.split(value, [p.shape[1] for p in places], 1), strict=True
        ):
            place.copy_(piece)


def parts_of(model: nn.Module) -> list[Part]:
    """The parts of a network that lies on one device: every parameter is whole.

    In the order of the network's stages.
    """
    return [
        Part(name, part == "bias", parameter, parameter.shape)
        for name, layer in model.named_children()
        for part, parameter in layer.named_parameters()
    ]


def parts_of_rows(name: str, layer: nn.Module, shape: torch.Size, rows: slice) -> list[Part]:
    """The parts of a layer that holds some output maps or units, and all inputs.

    Args:
        name: of the layer.
        layer: what this process holds.
        shape: of the whole weight.
        rows: which output maps or units.
    """
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    return [Part(name, False, weight, shape, rows), Part(name, True, bias, shape[:1], rows)]


def wholes(
    values: Iterable[tuple[Part, str, Tensor]], group: dist.ProcessGroup | None
) -> Iterator[tuple[str, Tensor]]:
    """Make wholes of parts, one after the other, on every process of the group.

    All processes of the group must go through it together, to the end.

    Args:
        values: (part, name, tensor shaped like the part) in the same order on every process;
            parts of one whole follow each other under the same name.
        group: the processes that hold the other parts; None if this one holds everything.

    Yields:
        (name, whole tensor).
    """
    for name, own in groupby(values, key=lambda value: value[1]):
        pieces = [(part, value) for part, _, value in own]
        part, value = pieces[0]
        if part.is_whole:
            yield name, value
            continue
        # Everyone fills its place in a tensor of zeros; the sum is the whole.
        whole = torch.zeros(part.shape, dtype=value.dtype, device=value.device)
        for part, value in pieces:
            part.put(value, whole)
        yield name, sum_over(whole, group)
