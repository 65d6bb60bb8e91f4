"""Krizhevsky's "One weird trick" (2014): convolutions data-parallel, the rest model-parallel.

Convolutions have 4 % of the parameters and 92 % of the arithmetic, fully connected layers the
other way round. So each of M processes runs all convolutions on its own n images, and then its own
units of fc6, fc7 and fc8 on the images of all:

    stage         this process computes           before it, each process sends to each other one
    conv1..pool5  n images, all kernels           -
    fc6           M n images, its units of 4096   its pool5, n x 9216
    fc7           M n images, its units of 4096   its units of fc6, M n x 4096 / M
    fc8           M n images, its classes         its units of fc7, M n x 4096 / M
    the loss      n images, all classes           its classes of the others' images, n x 1000 / M

Backwards the same numbers travel the other way, and the gradients of the convolutions are added up
over all processes; those of the fully connected layers are complete where they arise.

This is scheme (a) of the paper's section 4: all images at once. A step is then exactly a step of
one device; the schemes that pipeline the batches change the moment of updates or need more memory.
"""

from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor, nn

from alexnet.errors import UserError
from alexnet.model.catalog import AnyVariant
from alexnet.model.network import AlexNet, Dropout
from alexnet.model.variants import WEIGHT_LAYERS
from alexnet.parallel.exchange import Link, gather_rows, return_rows
from alexnet.parallel.joined import Joined, range_of, shares
from alexnet.parallel.parts import Part, parts_of, parts_of_rows
from alexnet.parallel.volume import has_paper_head


def check_hybrid(variant: AnyVariant) -> None:
    """Whether the variant's fully connected layers can be dealt out.

    Raises:
        UserError: they are not the paper's.
    """
    if not has_paper_head(variant):
        raise UserError(
            f"{variant.name} has other fully connected layers than the paper; use --layout data"
        )


class Hybrid(nn.Module):
    """All convolutions, and this process's units of the fully connected layers.

    Args:
        whole: the network; its convolutions are used, its other parameters copied from.
        link: to the processes with the other units.

    Attributes:
        convolutions: conv1 to the last stage before the fully connected ones.
        trunk: the same, as it is called; may be replaced by a replica that adds up gradients.
        head: the rest, by stage name.
    """

    def __init__(self, whole: AlexNet, link: Link) -> None:
        super().__init__()
        self.link = link
        order = whole.variant.order
        cut = next(i for i, name in enumerate(order) if name.startswith(("fc", "dropout")))
        self.convolutions = _convolutions(whole, order[:cut])
        self.trunk: nn.Module = self.convolutions
        self.head = nn.ModuleDict()
        self.classes = shares(whole.num_classes, link.size)
        self._shapes = {
            name: whole.get_parameter(f"{name}.weight").shape for name in WEIGHT_LAYERS[5:]
        }
        self._units = shares(whole.variant.hidden, link.size)
        for name in order[cut:]:
            self.head[name] = self._stage(whole, name)

    def forward(self, images: Tensor, keys: Tensor | None = None) -> Tensor:
        """Logits of the own images, (n, num_classes); arguments as for `AlexNet.forward`.

        All processes must pass equally many images.
        """
        x = gather_rows(self.trunk(images, keys).flatten(1), self.link)
        all_keys = None if keys is None else _gather_keys(keys, self.link)
        for stage in self.head.values():
            x = stage(x, all_keys) if isinstance(stage, Dropout) else stage(x)
        return return_rows(x, self.link, self.classes)

    def parts(self) -> list[Part]:
        """Where the parameters of this process lie in the whole network."""
        found = parts_of(self.convolutions)
        rows = range_of(self.link.rank, self._units)
        for name, shape in self._shapes.items():
            layer = self.head[name]
            if isinstance(layer, Joined):
                found += layer.parts(name)
                continue
            found += parts_of_rows(name, layer, shape, rows)
        return found

    def _stage(self, whole: AlexNet, name: str) -> nn.Module:
        stage = whole.get_submodule(name)
        if isinstance(stage, nn.Linear):
            outputs = self.classes if name == "fc8" else self._units
            if name == "fc6":  # sees all of pool5, which every process has of every image
                return _rows_of(stage, range_of(self.link.rank, outputs))
            return Joined(stage, self.link, outputs, self._units)
        if isinstance(stage, Dropout) and name in _after_fc(whole):
            stage.first_unit = range_of(self.link.rank, self._units).start
        return stage


def _after_fc(whole: AlexNet) -> tuple[str, ...]:
    """The stages whose units are dealt out: all after fc6."""
    order = whole.variant.order
    return order[order.index("fc6") + 1 :]


def _convolutions(whole: AlexNet, order: tuple[str, ...]) -> AlexNet:
    with torch.device("meta"):
        trunk = AlexNet(replace(whole.variant, order=order), whole.num_classes, seed=None)
    for name in order:
        trunk.add_module(name, whole.get_submodule(name))
    trunk.mean = whole.mean
    return trunk


def _rows_of(layer: nn.Linear, rows: slice) -> nn.Linear:
    own = nn.Linear(layer.in_features, rows.stop - rows.start, device="meta")
    own.weight = nn.Parameter(layer.weight.detach()[rows].clone())
    own.bias = nn.Parameter(layer.bias.detach()[rows].clone())
    return own


def _gather_keys(keys: Tensor, link: Link) -> Tensor:
    """The dropout keys of all images, in order; they are drawn, so they have no gradient."""
    gathered = [torch.empty_like(keys) for _ in range(link.size)]
    dist.all_gather(gathered, keys.contiguous(), group=link.group)
    return torch.cat(gathered)
