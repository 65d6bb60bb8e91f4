"""Figure 4's right half: pictures that are close in the last hidden layer (section 6.1).

"If two images produce feature activation vectors with a small Euclidean separation, we can say that
the higher levels of the neural network consider them to be similar."
"""

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
_BLOCK = 1024  # vectors that are compared at once


@torch.inference_mode()
def features(
    model: Network,
    images: ImageSet,
    stage: str,
    world: World,
    batch_size: int = 128,
    show_progress: bool = True,
) -> Floats:
    """The output of a named stage for the centre patch of every image, (N, units)."""
    side = model.variant.image_size
    view = center_view(images.store.size, side)
    model = model.to(world.device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    blocks = []
    with Meter(f"computing {stage}", len(images), silent=not show_progress) as meter:
        for start in range(0, len(images), batch_size):
            stop = min(start + batch_size, len(images))
            pixels = images.store.take(start, stop).cut(
                range(stop - start), view * (stop - start), side
            )
            with world.autocast():
                output = model.activations(pixels.to(world.device))[stage]
            blocks.append(output.float().flatten(1).cpu().numpy())
            meter.advance(stop - start)
    return np.concatenate(blocks)


def pixels(images: ImageSet, side: int) -> Floats:
    """The raw pixels of the centre patches, (N, 3 * side * side), which features must surpass."""
    view = center_view(images.store.size, side)
    count = len(images)
    step = 256
    blocks = []
    for start in range(0, count, step):
        stop = min(start + step, count)
        cut = images.store.take(start, stop).cut(range(stop - start), view * (stop - start), side)
        blocks.append(cut.flatten(1).float().cpu().numpy())
    return np.concatenate(blocks)


def nearest(
    queries: Floats, gallery: Floats, count: int, leave_out_self: bool = False
) -> tuple[npt.NDArray[np.int64], Floats]:
    """The `count` nearest gallery vectors of each query by Euclidean distance, nearest first.

    Args:
        queries: (Q, D).
        gallery: (G, D).
        count: how many, at most G (G - 1 with `leave_out_self`).
        leave_out_self: query i is gallery vector i, and does not count.

    Returns:
        (Q, count) indices into the gallery, and (Q, count) distances.
    """
    wanted = torch.from_numpy(np.ascontiguousarray(queries))
    there = torch.from_numpy(np.ascontiguousarray(gallery))
    indices, distances = [], []
    for first in range(0, len(wanted), _BLOCK):
        block = wanted[first : first + _BLOCK]
        squares = torch.cat([_squares(block, part) for part in torch.split(there, _BLOCK)], 1)
        if leave_out_self:
            squares[:, first:].fill_diagonal_(torch.inf)
        found = squares.topk(count, largest=False, sorted=True)
        indices.append(found.indices)
        distances.append(found.values.sqrt().to(wanted.dtype))
    return torch.cat(indices).numpy(), torch.cat(distances).numpy()


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
