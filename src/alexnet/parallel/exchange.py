"""What passes between processes inside a forward and backward pass, as differentiable functions.

One primitive carries everything: each process sends a piece to each other one (all-to-all), never
to itself. A gathering is the same piece to all, its backward pass a piece of the gradient back to
each owner, who adds up what comes in the order of the ranks and in float32, whatever travelled.

An exchange that is *begun* and *ended* lets the process compute in between:

    flight = begin(own, link)     # the others' pieces are on their way
    y = layer(own)
    y = y + layer(end(flight))

Autograd runs the nodes of a graph from the last made to the first. So the backward pass of these
lines first computes the gradient of the others' pieces, sends it off in `end`, computes the
gradient of the own piece meanwhile, and waits for what the others sent in `begin`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass
class Link:
    """The processes that exchange, as one of them sees it.

    Attributes:
        group: of torch.distributed.
        rank, size: this process among them.
        sent_bytes: what this process has sent through this link so far.
    """

    group: dist.ProcessGroup
    rank: int
    size: int
    sent_bytes: int = 0

    @property
    def others(self) -> list[int]:
        """The ranks of the other processes, rising."""
        return [rank for rank in range(self.size) if rank != self.rank]


@dataclass
class _Parcels:
    """An all-to-all under way.

    Attributes:
        work: to wait for.
        received: one flat buffer for all that comes.
        lengths: elements from each other rank.
        device: where the pieces are wanted.
        kept: what must stay in memory until it is sent.
    """

    work: Any
    received: Tensor
    lengths: Sequence[int]
    device: torch.device
    kept: Tensor = field(repr=False)

    def wait(self) -> list[Tensor]:
        """The flat pieces of all ranks but this one, in order of rank."""
        self.work.wait()
        return list(torch.split(self.received.to(self.device), list(self.lengths)))


def _send(pieces: Sequence[Tensor], lengths: Sequence[int], link: Link) -> _Parcels:
    """Begin to send each other rank its piece; `lengths` are the elements each will send here."""
    outgoing = [piece.numel() for piece in pieces]
    outgoing.insert(link.rank, 0)
    incoming = list(lengths)
    incoming.insert(link.rank, 0)
    flat = [piece.reshape(-1) for piece in pieces]
    parcel = flat[0] if len(flat) == 1 else torch.cat(flat)
    device = parcel.device
    if device.type == "cuda" and dist.get_backend(link.group) == "gloo":
        parcel = parcel.cpu()  # Gloo's all-to-all reads host memory
    received = parcel.new_empty(sum(incoming))
    link.sent_bytes += parcel.numel() * parcel.element_size()
    work = dist.all_to_all_single(received, parcel, incoming, outgoing, link.group, async_op=True)
    return _Parcels(work, received, lengths, device, parcel)


def _as_stored(x: Tensor) -> Tensor:
    """(N, C, H, W) as (N, H, W, C), or (N, C): contiguous, and pieces of C lie last."""
    return (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).contiguous()


def _as_seen(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def _sum(own: Tensor | None, others: Sequence[Tensor], link: Link) -> Tensor:
    """The pieces of all ranks added in float32 and in order, as the type they travelled in."""
    ordered = list(others)
    if own is not None:
        ordered.insert(link.rank, own)
    if len(ordered) == 1:
        return ordered[0]
    total = ordered[0].to(torch.float32, copy=True)
    for piece in ordered[1:]:
        total += piece
    return total.to(ordered[0].dtype)


@dataclass
class Flight:
    """A gathering of maps or units that has begun.

    Attributes:
        ticket: ties the two halves together in the autograd graph.
    """

    link: Link
    widths: Sequence[int]  # maps or units of each rank
    ticket: Tensor
    parcels: _Parcels
    shape: torch.Size  # of the own piece
    returning: _Parcels | None = None


def begin(own: Tensor, link: Link, widths: Sequence[int]) -> Flight:
    """Begin to send the own maps or units to all and to receive theirs.

    Args:
        own: (N, C) or (N, C, H, W), C the width of this rank.
        link: to the others.
        widths: C of each rank.
    """
    per_map = own.numel() // own.shape[1]
    stored = _as_stored(own.detach())
    lengths = [per_map * widths[rank] for rank in link.others]
    parcels = _send([stored] * (link.size - 1), lengths, link)
    flight = Flight(link, widths, own.new_empty(0), parcels, own.shape)
    flight.ticket = _Begin.apply(own, flight)  # type: ignore[no-untyped-call]
    return flight


def end(flight: Flight) -> Tensor:
    """The maps or units of all other ranks, in order: (N, sum of their widths, *)."""
    others: Tensor = _End.apply(flight.ticket, flight)  # type: ignore[no-untyped-call]
    return others


class _Begin(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, flight: Flight) -> Tensor:
        ctx.flight = flight
        return own.new_empty(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        flight: Flight = ctx.flight
        assert flight.returning is not None
        n, c, *sides = flight.shape
        pieces = [p.view(n, *sides, c) for p in flight.returning.wait()]
        flight.returning = None
        return _as_seen(_sum(None, pieces, flight.link)), None


class _End(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ticket: Tensor, flight: Flight) -> Tensor:
        ctx.flight = flight
        n, _, *sides = flight.shape
        link, widths = flight.link, flight.widths
        pieces = [
            piece.view(n, *sides, widths[rank])
            for rank, piece in zip(link.others, flight.parcels.wait(), strict=True)
        ]
        del flight.parcels
        return _as_seen(pieces[0] if len(pieces) == 1 else torch.cat(pieces, -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        flight: Flight = ctx.flight
        link = flight.link
        widths = [flight.widths[rank] for rank in link.others]
        pieces = torch.split(_as_stored(gradient), widths, -1)
        flight.returning = _send(pieces, [flight.shape.numel()] * len(pieces), link)
        return gradient.new_empty(0), None


def gather_units(own: Tensor, link: Link, widths: Sequence[int]) -> Tensor:
    """(N, C) of each rank side by side: (N, sum of widths).

    For what every rank goes on to compute alike: the gradient is the same everywhere, so each
    takes its own part of it and nothing is sent.
    """
    gathered: Tensor = _GatherUnits.apply(own, link, widths)  # type: ignore[no-untyped-call]
    return gathered


class _GatherUnits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, link: Link, widths: Sequence[int]) -> Tensor:
        ctx.own = slice(sum(widths[: link.rank]), sum(widths[: link.rank + 1]))
        lengths = [len(own) * widths[rank] for rank in link.others]
        received = _send([own.contiguous()] * (link.size - 1), lengths, link).wait()
        pieces = [piece.view(len(own), -1) for piece in received]
        pieces.insert(link.rank, own)
        return torch.cat(pieces, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[:, ctx.own], None, None


def gather_rows(own: Tensor, link: Link) -> Tensor:
    """(n, C) of each rank below one another: (size * n, C); all ranks have n rows.

    Every rank computes something else from the rows, so the backward pass adds up the gradients.
    """
    gathered: Tensor = _GatherRows.apply(own, link)  # type: ignore[no-untyped-call]
    return gathered


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, link: Link) -> Tensor:
        ctx.link = link
        own = own.contiguous()
        pieces = _send([own] * (link.size - 1), [own.numel()] * (link.size - 1), link).wait()
        rows = [piece.view(own.shape) for piece in pieces]
        rows.insert(link.rank, own)
        return torch.cat(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        link: Link = ctx.link
        pieces = gradient.contiguous().chunk(link.size)
        own = pieces[link.rank]
        sent = [pieces[rank] for rank in link.others]
        received = _send(sent, [own.numel()] * len(sent), link).wait()
        return _sum(own, [piece.view(own.shape) for piece in received], link), None


def return_rows(own: Tensor, link: Link, widths: Sequence[int]) -> Tensor:
    """From own units of all rows to all units of own rows: (size * n, C) -> (n, sum of widths)."""
    returned: Tensor = _ReturnRows.apply(own, link, widths)  # type: ignore[no-untyped-call]
    return returned


class _ReturnRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, link: Link, widths: Sequence[int]) -> Tensor:
        ctx.link, ctx.widths = link, widths
        blocks = own.contiguous().chunk(link.size)
        rows = len(blocks[link.rank])
        lengths = [rows * widths[rank] for rank in link.others]
        received = _send([blocks[rank] for rank in link.others], lengths, link).wait()
        pieces = [piece.view(rows, -1) for piece in received]
        pieces.insert(link.rank, blocks[link.rank])
        return torch.cat(pieces, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        link: Link = ctx.link
        pieces = torch.split(gradient, list(ctx.widths), 1)
        own = pieces[link.rank].contiguous()
        sent = [pieces[rank].contiguous() for rank in link.others]
        received = _send(sent, [own.numel()] * len(sent), link).wait()
        blocks = [piece.view(own.shape) for piece in received]
        blocks.insert(link.rank, own)
        return torch.cat(blocks), None, None
