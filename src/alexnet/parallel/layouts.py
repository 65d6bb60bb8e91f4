"""Where a network lies: on one device, as replicas, as columns, or as hybrid.

Every layout is called alike, images and dropout keys of the own slice of the batch in, their
logits out, and every layout can say which part of which parameter it holds. Nothing else in the
program knows one from another.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from alexnet.errors import UserError
from alexnet.model.build import Network, build_network
from alexnet.model.catalog import AnyVariant
from alexnet.model.network import AlexNet
from alexnet.parallel.columns import Column, check_columns
from alexnet.parallel.exchange import Link
from alexnet.parallel.hybrid import Hybrid, check_hybrid
from alexnet.parallel.parts import Part, parts_of, wholes
from alexnet.parallel.replicas import replicate
from alexnet.parallel.volume import LAYOUTS, least_exchanging
from alexnet.parallel.world import World, sum_over

M = TypeVar("M", bound=nn.Module)


@dataclass
class Placed:
    """A network as one process holds it.

    Attributes:
        layout: one, data, columns or hybrid.
        module: maps (images, keys) to the logits of these images.
        parts: the parameters held here.
        outline: the network's variant, classes and mean; its own parameters if it is whole here.
        convolutions: the module whose convolutions run here, for choosing their forms.
        slice_index, slice_count: which slice of every batch this process takes, of how many.
        slice_group: the processes that take the other slices; None if there is one slice.
        model_group: the processes that hold the other parts; None if the network is whole here.
        link: what activations pass through; None if none do.
    """

    layout: str
    module: nn.Module
    parts: list[Part]
    outline: Network
    convolutions: Network
    slice_index: int = 0
    slice_count: int = 1
    slice_group: dist.ProcessGroup | None = None
    model_group: dist.ProcessGroup | None = None
    link: Link | None = None

    @property
    def mean(self) -> Tensor:
        """What the network subtracts, (3, S, S)."""
        return self.outline.mean

    def whole_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """(name, whole) of every parameter; all processes must go through it together."""
        values = ((part, part.name, part.parameter.detach()) for part in self.parts)
        return wholes(values, self.model_group)

    def blank(self) -> Network:
        """The whole network without parameters, for those that are loaded."""
        return _outline(self.outline, self.mean)

    def whole(self) -> Network:
        """The network on this one device; all processes must ask together.

        Where the network is not whole here, a copy without gradients is made of all parts.
        """
        if self.model_group is None:
            return self.outline
        model = self.blank()
        tensors = {**dict(self.whole_parameters()), "mean": self.mean}
        model.load_state_dict(tensors, assign=True)
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take this process's parts of whole parameters and the mean."""
        with torch.no_grad():
            for part in self.parts:
                part.parameter.copy_(part.of(tensors[part.name]))
            self.mean.copy_(tensors["mean"])

    def adding_up(self, now: bool) -> AbstractContextManager[None]:
        """Around a forward and backward pass: whether its gradients go to the replicas at once.

        Of several passes before an update only the last one sends.
        """
        replica = next(
            (m for m in self.module.modules() if isinstance(m, DistributedDataParallel)), None
        )
        return nullcontext() if now or replica is None else replica.no_sync()

    def sum(self, values: Tensor) -> Tensor:
        """Add up in place what is counted over slices."""
        return sum_over(values, self.slice_group)


def place(model: Network, layout: str, world: World, batch_size: int = 128) -> Placed:
    """Put a network where the layout says; each process keeps only its parts.

    Args:
        model: the same on every process; forget it afterwards, so that its memory is freed.
        layout: auto, one, data, columns or hybrid. `auto` takes the one that sends the fewest
            bytes in a step of `batch_size` images.
        world: the processes.
        batch_size: images of all processes in a step.

    Raises:
        UserError: the layout does not fit the network or the number of processes.
    """
    layout = resolve_layout(layout, model, world.size, batch_size, world.dtype.itemsize)
    if layout == "one":
        model = _on_device(model, world)
        return Placed(layout, model, parts_of(model), model, model)
    if layout == "data":
        model = _on_device(model, world)
        group = _everyone()
        return Placed(
            layout,
            replicate(model, world, group),
            parts_of(model),
            model,
            model,
            world.rank,
            world.size,
            group,
        )
    assert isinstance(model, AlexNet)
    return _columns(model, world) if layout == "columns" else _hybrid(model, world)


def resolve_layout(
    layout: str, model: Network, processes: int, batch_size: int = 128, activation_bytes: int = 4
) -> str:
    """The layout that is meant; errors as for `place`."""
    variant = model.variant
    if layout == "auto":
        shape = (model.num_classes, processes, batch_size, activation_bytes)
        return least_exchanging(variant, *shape)
    check_placeable(layout, variant, processes)
    return layout


def check_placeable(layout: str, variant: AnyVariant, processes: int) -> None:
    """Refuse what `place` would refuse, before images are read or anything is made.

    Raises:
        UserError: as for `place`.
    """
    if layout == "auto":
        return
    if processes == 1 and layout in LAYOUTS and layout != "one":
        raise UserError(f"--layout {layout} needs several processes; add --devices N")
    check_layout(layout, variant, processes)


def check_layout(layout: str, variant: AnyVariant, processes: int) -> None:
    """Refuse a layout that so many processes cannot take.

    Raises:
        UserError: no such layout, or one for other networks or another number of processes.
    """
    if layout not in LAYOUTS:
        raise UserError(f"there is no layout {layout!r}; use one of: {', '.join(LAYOUTS)}")
    if processes > 1 and layout == "one":
        raise UserError(f"--layout one cannot use {processes} processes; use --layout auto")
    if layout == "columns":
        check_columns(variant)
        if processes % variant.columns:
            raise UserError(
                f"--layout columns needs a multiple of {variant.columns} processes, one a "
                f"column, not {processes}; use --layout data or hybrid"
            )
    if layout == "hybrid":
        check_hybrid(variant)


def _columns(model: AlexNet, world: World) -> Placed:
    """Neighbouring ranks hold the columns of one replica; equal columns are replicas."""
    columns = model.variant.columns
    replicas = world.size // columns
    index, own_column = divmod(world.rank, columns)
    neighbours = [[r * columns + c for c in range(columns)] for r in range(replicas)]
    group = _group(neighbours, world)
    link = Link(group, own_column, columns)
    column = Column(model, link)
    module: nn.Module = _on_device(column, world)
    parts = _frozen_alike(column.parts(), model)
    alike = None
    if replicas > 1:
        equals = [[r * columns + c for r in range(replicas)] for c in range(columns)]
        alike = _group(equals, world)
        module = replicate(module, world, alike)
    network = column.network
    outline = _outline(model, network.mean)
    return Placed("columns", module, parts, outline, network, index, replicas, alike, group, link)


def _hybrid(model: AlexNet, world: World) -> Placed:
    group = _everyone()
    link = Link(group, world.rank, world.size)
    module = _on_device(Hybrid(model, link), world)
    trunk = module.convolutions
    parts = _frozen_alike(module.parts(), model)
    module.trunk = replicate(trunk, world, group)
    return Placed(
        "hybrid",
        module,
        parts,
        _outline(model, trunk.mean),
        trunk,
        world.rank,
        world.size,
        group,
        group,
        link,
    )


def _frozen_alike(parts: list[Part], model: AlexNet) -> list[Part]:
    """The parts, without gradients where the whole parameter has none."""
    for part in parts:
        part.parameter.requires_grad_(model.get_parameter(part.name).requires_grad)
    return parts


def _outline(model: Network, mean: Tensor) -> Network:
    """The network without parameters: what it is called, knows and subtracts."""
    with torch.device("meta"):
        outline = build_network(model.variant, model.num_classes, seed=None)
    outline.mean = mean
    outline.classes = model.classes
    outline.stored_size = model.stored_size
    outline.training_data = model.training_data
    return outline


def _on_device(module: M, world: World) -> M:
    module = module.to(world.device)
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _group(members: list[list[int]], world: World) -> dist.ProcessGroup:
    """The group of this process, of several that all processes form together."""
    if len(members) == 1:
        return _everyone()
    groups: tuple[dist.ProcessGroup, Any] = dist.new_subgroups_by_enumeration(  # type: ignore[no-untyped-call]
        members, timeout=world.store.timeout
    )
    return groups[0]


def _everyone() -> dist.ProcessGroup:
    group = dist.group.WORLD
    assert group is not None
    return group
