"""Top-1 and top-5 error of one network or the average of several (paper, sections 4.1 and 6)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from alexnet.config import DataConfig
from alexnet.data.augment import center_view, nine_views, ten_views
from alexnet.data.class_names import matched, nearly
from alexnet.data.loading import open_images
from alexnet.data.pixels import ImageSet
from alexnet.data.sources import Source, open_source
from alexnet.errors import UserError
from alexnet.evaluation.inference import Answer, answering, use_fastest_forms
from alexnet.evaluation.metrics import credit, wilson_interval
from alexnet.model.build import Network
from alexnet.model.weights import load
from alexnet.parallel.failure import failing_clearly
from alexnet.parallel.world import World, make_world
from alexnet.progress import Meter, say
from alexnet.rows import finite

_VIEWS = {1: center_view, 9: nine_views, 10: ten_views}


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and the probabilities behind it.

    Attributes:
        probabilities: (N, C) float32, averaged over views and networks.
        labels: (N,) int64.
        keys: the name of each image.
        classes: the names of the C classes.
        views: 1, 9 or 10.
    """

    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    keys: Sequence[str]
    classes: Sequence[str]
    views: int

    @property
    def images(self) -> int:
        """How many images were seen."""
        return len(self.labels)

    @property
    def top1_error(self) -> float:
        """The fraction of images whose label is not the most probable class."""
        return self._error(1)

    @property
    def top5_error(self) -> float:
        """The fraction of images whose label is not among the five most probable classes."""
        return self._error(5)

    @property
    def loss(self) -> float:
        """Mean of -log of the label's probability."""
        own = self.probabilities[np.arange(self.images), self.labels].astype(np.float64)
        # A probability that float32 cannot tell from 0 costs what its smallest value would.
        return float(-np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean())

    def to_json(self) -> dict[str, Any]:
        """The measurement as the command line's JSON contract has it, without `runs`."""
        return {
            "images": self.images,
            "views": self.views,
            "top1_error": self.top1_error,
            "top5_error": self.top5_error,
            "top1_error_interval": list(wilson_interval(self.top1_error, self.images)),
            "top5_error_interval": list(wilson_interval(self.top5_error, self.images)),
            "loss": finite(self.loss),
        }

    def _error(self, k: int) -> float:
        earned = credit(torch.from_numpy(self.probabilities), torch.from_numpy(self.labels), k)
        return (self.images - float(earned.sum())) / self.images


def evaluate(
    runs: Sequence[str | Path] | str | Path,
    data: str | Path,
    split: str = "val",
    views: int = 1,
    device: str = "auto",
    batch_size: int = 128,
) -> Evaluation:
    """Measure one run, or several with their probabilities averaged, on a split of `data`.

    Raises:
        UserError: no run, no such run or data, classes that the network does not have, runs whose
            classes differ, or an argument out of its range.
    """
    if batch_size < 1:
        raise UserError(f"batch_size must be at least 1, not {batch_size}")
    models = [load(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    if not models:
        raise UserError("there is no run to evaluate; name at least one")
    if len({(model.classes, model.stored_size) for model in models}) > 1:
        raise UserError("the runs differ in classes or image size; evaluate them one at a time")
    source = match_classes(_held_out_alike(data, models), models[0].classes)
    world = make_world(device)  # of several processes only the first speaks from here on
    if split == "val" and source.divided and not _is_own(source, models[0]):
        say(
            f"measured are the {len(source.validation)} images of {source.name} that a training "
            f"would hold out, of {len(source.train) + len(source.validation)}; --split all takes "
            "all of them"
        )
    with failing_clearly(world):
        size, workers = models[0].stored_size, DataConfig.workers
        [images] = open_images(source, [split], world.device, size, workers)
        for model in models:
            use_fastest_forms(model, world)
        return average([evaluate_model(m, images, views, world, batch_size) for m in models])


def _held_out_alike(data: str | Path, models: Sequence[Network]) -> Source:
    """The images, of which all networks have held out the same.

    Raises:
        UserError: one has been trained on what another has not seen.
    """
    usual = DataConfig.validation_fraction
    fractions = {model.training_data.get("validation_fraction", usual) for model in models}
    source, *others = (open_source(data, validation_fraction=part) for part in sorted(fractions))
    if any(list(other.validation.keys) != list(source.validation.keys) for other in others):
        raise UserError(
            "the runs held out different parts of the images, so that some would be measured on "
            "what they were trained on; evaluate them one at a time"
        )
    return source


def _is_own(source: Source, model: Network) -> bool:
    """Whether these can be the images that a network was trained on and held out."""
    known = model.training_data
    counts = len(source.train), len(source.validation)
    # Of images that could not be read nobody knows on which side they were.
    missing = sum(counts) - known.get("train_images", 0) - known.get("validation_images", 0)
    return bool(known.get("name") == source.name and 0 <= missing <= known.get("skipped", 0))


def match_classes(source: Source, classes: Sequence[str]) -> Source:
    """The source with its labels renumbered to the classes of a network.

    Raises:
        UserError: the source has a class that the network does not know.
    """
    if tuple(source.classes) == tuple(classes):
        return source
    same = matched(source.classes, classes)
    strange = [name for name in source.classes if name not in same]
    if strange:
        raise UserError(
            f"{source.name} has {len(strange)} classes that the network was not trained on "
            f"(the first: {strange[0]!r}{nearly(strange[0], classes)}); "
            f"the network has {len(classes)} classes, the data {len(source.classes)}"
        )
    number = {name: index for index, name in enumerate(classes)}
    new_labels = np.array([number[same[name]] for name in source.classes], dtype=np.int64)
    return replace(
        source,
        classes=tuple(classes),
        train=replace(source.train, labels=new_labels[source.train.labels]),
        validation=replace(source.validation, labels=new_labels[source.validation.labels]),
        test=source.test and replace(source.test, labels=new_labels[source.test.labels]),
    )


def evaluate_model(
    model: Network,
    images: ImageSet,
    views: int,
    world: World,
    batch_size: int = 128,
    show_progress: bool = True,
) -> Evaluation:
    """Measure a network in memory on decoded images, one, nine or ten views of each.

    The batches are dealt out to the processes of the world, which all must call together. They are
    the batches of one process, so the probabilities are the same to the bit, and no image is
    counted twice.

    Raises:
        UserError: there is no image.
    """
    if not len(images):
        raise UserError("there is no readable image to evaluate on")
    starts = range(0, len(images), batch_size)[world.rank :: world.size]
    blocks = predict_images(model, images, views, world, batch_size, show_progress, starts)
    probabilities = np.zeros((len(images), model.num_classes), dtype=np.float32)
    for start, block in zip(starts, blocks, strict=True):
        probabilities[start : start + len(block)] = block
    if world.size > 1:  # everyone has filled its rows; the rest are zeros
        dist.all_reduce(torch.from_numpy(probabilities))
    return Evaluation(probabilities, images.labels, images.keys, model.classes, views)


@torch.inference_mode()
def predict_images(
    model: Network,
    images: ImageSet,
    views: int,
    world: World,
    batch_size: int,
    show_progress: bool = False,
    starts: Sequence[int] | None = None,
    answer: Answer | None = None,
) -> Iterator[npt.NDArray[np.float32]]:
    """(n, C) softmax probabilities of batch after batch, averaged over the views.

    With `starts`, only of the batches that begin at these images. Whoever asks often gives the
    network's `answer`, so that the network is not made ready each time.

    Section 4.1 averages "the predictions made by the network's softmax layer": probabilities, not
    logits.
    """
    if views not in _VIEWS:
        raise UserError(f"views must be 1, 9 or 10, not {views}")
    side = model.variant.image_size
    corners = _VIEWS[views](images.store.size, side)
    answer = answer or answering(model, world)
    if starts is None:
        starts = range(0, len(images), batch_size)
    total_images = sum(min(batch_size, len(images) - start) for start in starts)
    with Meter("evaluating", total_images, silent=not show_progress) as meter:
        for start in starts:
            stop = min(start + batch_size, len(images))
            count = stop - start
            pixels = images.store.take(start, stop)
            total = torch.zeros(count, model.num_classes, device=world.device)
            for corner in corners:
                views_cut = pixels.cut(range(count), [corner] * count, side)
                total += answer(views_cut).softmax(1)
            meter.advance(count)
            yield (total / len(corners)).cpu().numpy()


def average(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The evaluation of the mean of several networks' probabilities, on the same images."""
    # 2012 (D11): with coefficients, which may have been searched on the validation images.
    stacked = np.stack([evaluation.probabilities for evaluation in evaluations])
    mean = stacked.mean(axis=0, dtype=np.float64).astype(np.float32)
    return replace(evaluations[0], probabilities=mean)
