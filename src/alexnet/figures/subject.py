"""What a run is shown with: its network, its images, and a few of them chosen."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.config import DataConfig
from alexnet.data.augment import center_view
from alexnet.data.encoded import read_encoded
from alexnet.data.images import BadImage, load_square
from alexnet.data.loading import open_images
from alexnet.data.pixels import ImageSet, images_in_memory
from alexnet.data.sources import open_source
from alexnet.errors import UserError
from alexnet.evaluation.evaluate import Evaluation, evaluate_model, match_classes
from alexnet.model.build import Network
from alexnet.model.weights import load
from alexnet.parallel.world import World, make_world
from alexnet.suggest import unknown


@dataclass(frozen=True)
class Subject:
    """A trained network and the images it is shown with.

    Attributes:
        model: on the world's device, in evaluation mode.
        training, validation: the images, in memory where they fit, else decoded as they are needed.
        measured: the network's answers to the validation images, one view.
        chosen: indices of the validation images that figures show.
        looked_at: the image whose activations are shown: a set and its index there.
        stages: whose activations.
    """

    run: Path
    model: Network
    world: World
    training: ImageSet
    validation: ImageSet
    measured: Evaluation
    chosen: npt.NDArray[np.int64]
    looked_at: tuple[ImageSet, int]
    stages: Sequence[str]

    def patch(self, images: ImageSet, index: int) -> Tensor:
        """The centre patch of an image as the network sees it, (1, 3, S, S) uint8."""
        side = self.model.variant.image_size
        view = center_view(images.store.size, side)
        return images.store.take(index, index + 1).cut(range(1), view, side).to(self.world.device)

    def picture(self, images: ImageSet, index: int) -> npt.NDArray[np.uint8]:
        """The same for people, (S, S, 3)."""
        return np.ascontiguousarray(self.patch(images, index)[0].permute(1, 2, 0).cpu().numpy())


def open_subject(
    run: Path,
    data: str,
    count: int,
    device: str = "auto",
    picture: Path | None = None,
    stages: Sequence[str] = (),
) -> Subject:
    """Load a run and the images to show it with.

    Args:
        run: a run directory, or a weights file.
        data: as for `alexnet train`.
        count: how many validation images to choose.
        picture: a file whose activations to show; by default the first image chosen.
        stages: whose activations; by default every ReLU's that has maps.

    Raises:
        UserError: no such run or data, no image in it, no such picture or stage.
    """
    model = load(run).eval()
    stages = _with_maps(model, stages)
    own = None if picture is None else _read(picture, model.stored_size)
    world = make_world(device, "fp32")
    # Before any evaluation: what moves under inference mode can have no gradients afterwards.
    model = model.to(world.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fraction = float(model.training_data.get("validation_fraction", 0.2))
    source = match_classes(open_source(data, validation_fraction=fraction), model.classes)
    training, validation = open_images(
        source, ["train", "val"], world.device, model.stored_size, DataConfig.workers
    )
    if not len(validation) or not len(training):
        raise UserError(f"{data} has no readable image to show")
    measured = evaluate_model(model, validation, 1, world)
    if not np.isfinite(measured.probabilities).all():
        raise UserError(f"{run} answers what is no number: it diverged; train with a lower --lr")
    chosen = choose(measured, min(count, len(validation)))
    looked_at = (validation, int(chosen[0])) if own is None else (own, 0)
    return Subject(run, model, world, training, validation, measured, chosen, looked_at, stages)


def _with_maps(model: Network, wanted: Sequence[str]) -> Sequence[str]:
    order = model.variant.order
    maps = order[: next(i for i, name in enumerate(order) if name.startswith("fc"))]
    for name in wanted:
        if name not in maps:
            raise UserError(unknown("stage with maps", name, maps))
    return wanted or [name for name in maps if name.startswith("relu")]


def _read(picture: Path, size: int) -> ImageSet:
    """The picture as a set of one image, cut to the stored square as the network's own images."""
    try:
        pixels = load_square(read_encoded(os.fspath(picture)), size)
    except (BadImage, OSError) as error:
        raise UserError(f"cannot read the picture {picture}: {error}") from None
    return images_in_memory(pixels[None], np.zeros(1, dtype=np.int64), [picture.name])


def choose(measured: Evaluation, count: int) -> npt.NDArray[np.int64]:
    """Images to show: from as many classes as there are, every second one a mistake.

    Chosen by a fixed rule, so that nobody picks what looks good: in each class the images in the
    middle of the order of the label's probability, right or wrong in turn, and the other way round
    when all classes have had their turn. Where a class has none of a kind, another one has.
    """
    labels, predicted = measured.labels, measured.probabilities.argmax(1)
    own = measured.probabilities[np.arange(len(labels)), labels]
    classes = np.unique(labels)
    chosen: list[int] = []
    for number in range(count):
        label = classes[number % len(classes)]
        wanted = (predicted == labels) == ((number + number // len(classes)) % 2 == 0)
        of_class, free = labels == label, ~np.isin(np.arange(len(labels)), chosen)
        choices = (of_class & wanted, wanted, of_class, free)
        pool = next(found for c in choices if len(found := np.flatnonzero(c & free)))
        chosen.append(int(pool[np.argsort(own[pool], kind="stable")[len(pool) // 2]]))
    return np.array(chosen, dtype=np.int64)


@torch.inference_mode()
def activations(subject: Subject) -> dict[str, npt.NDArray[np.float32]]:
    """What the stages wanted answer to the image looked at, (C, H, W) each."""
    found = subject.model.activations(subject.patch(*subject.looked_at))
    return {name: found[name][0].float().cpu().numpy() for name in subject.stages}
