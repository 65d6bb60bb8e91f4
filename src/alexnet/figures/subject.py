"""What a run is shown with: its network, its images, and a few of them chosen."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.data.augment import center_view
from alexnet.data.loading import choose_place, load_images
from alexnet.data.pixels import ImageSet
from alexnet.data.sources import open_source
from alexnet.errors import UserError
from alexnet.evaluation.evaluate import Evaluation, evaluate_model, match_classes
from alexnet.model.build import Network
from alexnet.model.weights import load
from alexnet.parallel.world import World, make_world

_WORKERS = 2


@dataclass(frozen=True)
class Subject:
    """A trained network and the images it is shown with.

    Attributes:
        model: on the world's device, in evaluation mode.
        training, validation: the images, resident.
        measured: the network's answers to the validation images, one view.
        chosen: indices of the validation images that figures show.
    """

    run: Path
    model: Network
    world: World
    training: ImageSet
    validation: ImageSet
    measured: Evaluation
    chosen: npt.NDArray[np.int64]

    def patch(self, images: ImageSet, index: int) -> Tensor:
        """The centre patch of an image as the network sees it, (1, 3, S, S) uint8."""
        side = self.model.variant.image_size
        view = center_view(images.store.size, side)
        return images.store.take(index, index + 1).cut(range(1), view, side).to(self.world.device)

    def picture(self, images: ImageSet, index: int) -> npt.NDArray[np.uint8]:
        """The same for people, (S, S, 3)."""
        return np.ascontiguousarray(self.patch(images, index)[0].permute(1, 2, 0).cpu().numpy())


def open_subject(run: Path, data: str, count: int, device: str = "auto") -> Subject:
    """Load a run and the images to show it with.

    Args:
        run: a run directory, or a weights file.
        data: as for `alexnet train`.
        count: how many validation images to choose.

    Raises:
        UserError: no such run or data, or no image in it.
    """
    model = load(run).eval()
    world = make_world(device, "fp32")
    # Before any evaluation: what moves under inference mode can have no gradients afterwards.
    model = model.to(world.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fraction = float(model.training_data.get("validation_fraction", 0.2))
    source = match_classes(open_source(data, validation_fraction=fraction), model.classes)
    place = choose_place(
        len(source.train) + len(source.validation), world.device, model.stored_size, _WORKERS
    )
    trusted = source.statistics is not None
    training, _ = load_images(source.train, place, "reading training images", trusted=trusted)
    validation, _ = load_images(
        source.validation, place, "reading validation images", trusted=trusted
    )
    if not len(validation) or not len(training):
        raise UserError(f"{data} has no readable image to show")
    measured = evaluate_model(model, validation, 1, world)
    chosen = choose(measured, min(count, len(validation)))
    return Subject(run, model, world, training, validation, measured, chosen)


def choose(measured: Evaluation, count: int) -> npt.NDArray[np.int64]:
    """Images to show: from as many classes as there are, every second one a mistake.

    Chosen by a fixed rule, so that nobody picks what looks good: in each class the images in the
    middle of the order of the label's probability, right or wrong in turn.
    """
    labels, predicted = measured.labels, measured.probabilities.argmax(1)
    own = measured.probabilities[np.arange(len(labels)), labels]
    classes = np.unique(labels)
    chosen: list[int] = []
    for number in range(count):
        label = classes[number % len(classes)]
        wanted = (predicted == labels) == (number % 2 == 0)
        pool = np.flatnonzero((labels == label) & wanted)
        pool = pool[~np.isin(pool, chosen)]
        for others in (labels == label, np.full(len(labels), True)):  # where there is none
            if not len(pool):
                pool = np.setdiff1d(np.flatnonzero(others), chosen)
        chosen.append(int(pool[np.argsort(own[pool], kind="stable")[len(pool) // 2]]))
    return np.array(chosen, dtype=np.int64)


@torch.inference_mode()
def activations(subject: Subject, index: int) -> dict[str, npt.NDArray[np.float32]]:
    """Every stage's output for one validation image, without the batch dimension."""
    stages = subject.model.activations(subject.patch(subject.validation, index))
    return {name: output[0].float().cpu().numpy() for name, output in stages.items()}
