"""Figure 4's right half: pictures that are close in the last hidden layer (section 6.1).

"If two images produce feature activation vectors with a small Euclidean separation, we can say that
the higher levels of the neural network consider them to be similar."
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.data.augment import center_view
from alexnet.data.pixels import ImageSet
from alexnet.model.build import Network
from alexnet.parallel.world import World
from alexnet.progress import Meter

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Vectors = Callable[[ImageSet, Integers | None], Iterator[Floats]]
"""What makes vectors of all images, or of those chosen, batch by batch."""

_BLOCK = 1024  # queries that are compared at once
_PIXELS_TOGETHER = 256  # images whose pixels are compared at once


@torch.inference_mode()
def features(
    model: Network,
    images: ImageSet,
    stage: str,
    world: World,
    chosen: Integers | None = None,
    batch_size: int = 128,
) -> Iterator[Floats]:
    """The output of a named stage for centre patches, batch by batch, (n, units) each.

    Args:
        model: the network.
        images: to look at.
        stage: by name, as in `model.activations`.
        world: the device.
        chosen: (N,) indices of images; by default all.
        batch_size: images that go through the network together.
    """
    side = model.variant.image_size
    model = model.to(world.device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    count = len(images) if chosen is None else len(chosen)
    with Meter(f"computing {stage}", count) as meter:
        for patches in _patches(images, side, chosen, batch_size):
            with world.autocast():
                output = model.activations(patches.to(world.device))[stage]
            yield output.float().flatten(1).cpu().numpy()
            meter.advance(len(patches))


def pixels(images: ImageSet, side: int, chosen: Integers | None = None) -> Iterator[Floats]:
    """The raw pixels of centre patches, (n, 3 * side * side) each, which features must surpass."""
    for patches in _patches(images, side, chosen, _PIXELS_TOGETHER):
        yield patches.flatten(1).float().cpu().numpy()


def _patches(
    images: ImageSet, side: int, chosen: Integers | None, together: int
) -> Iterator[Tensor]:
    """(n, 3, side, side) uint8 centre patches of all images, or of those that are chosen."""
    view = center_view(images.store.size, side)
    if chosen is not None:
        for start in range(0, len(chosen), together):
            samples = chosen[start : start + together]
            yield images.store.cut(samples, view * len(samples), side)
        return
    for start in range(0, len(images), together):
        stop = min(start + together, len(images))
        taken = images.store.take(start, stop)  # several threads decode what is streamed
        yield taken.cut(range(stop - start), view * (stop - start), side)


def nearest(
    queries: Floats, gallery: Iterable[Floats], count: int
) -> tuple[npt.NDArray[np.int64], Floats]:
    """The `count` nearest gallery vectors of each query by Euclidean distance, nearest first.

    Args:
        queries: (Q, D).
        gallery: blocks of its vectors, (n, D) each, that need not be in memory together.
        count: how many, at most as there are in the gallery.

    Returns:
        (Q, count) indices into the gallery, and (Q, count) distances.
    """
    wanted = torch.split(torch.from_numpy(np.ascontiguousarray(queries)), _BLOCK)
    places = [torch.empty(len(block), 0, dtype=torch.int64) for block in wanted]
    squares = [torch.empty(len(block), 0, dtype=torch.float64) for block in wanted]
    first = 0
    for vectors in gallery:
        there = torch.from_numpy(np.ascontiguousarray(vectors))
        new_places = torch.arange(first, first + len(there))
        for number, block in enumerate(wanted):
            known = torch.cat([squares[number], _squares(block, there)], 1)
            place = torch.cat([places[number], new_places.expand(len(block), -1)], 1)
            squares[number], best = known.topk(min(count, known.shape[1]), largest=False)
            places[number] = place.gather(1, best)
        first += len(there)
    distances = torch.cat(squares).sqrt().float()
    return torch.cat(places).numpy(), distances.numpy()


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances |a|² + |b|² - 2ab, in float64: in float32 small ones drown in rounding."""
    a, b = a.double(), b.double()
    norms = a.square().sum(1)[:, None] + b.square().sum(1)
    return (norms - 2.0 * a @ b.T).clamp_(min=0.0)


def precision(
    neighbors: npt.NDArray[np.int64],
    query_labels: npt.NDArray[np.int64],
    gallery_labels: npt.NDArray[np.int64],
) -> float:
    """The share of neighbours, (Q, count) indices, that are of their query's class."""
    return float((gallery_labels[neighbors] == query_labels[:, None]).mean())
