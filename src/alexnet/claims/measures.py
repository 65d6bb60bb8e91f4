"""What is measured of a finished run. Each function takes a run directory and returns numbers."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet.claims.claim import Values
from alexnet.config import Config, read_config
from alexnet.data.loading import open_images
from alexnet.data.pixels import ImageSet
from alexnet.data.sources import Source, open_source
from alexnet.evaluation.evaluate import average, evaluate_model
from alexnet.evaluation.kernels import compare_columns, learned
from alexnet.evaluation.neighbors import Vectors, features, nearest, pixels, precision
from alexnet.files import write_atomically
from alexnet.model.build import Network
from alexnet.model.network import AlexNet
from alexnet.model.weights import load
from alexnet.parallel.world import World, make_world
from alexnet.rows import read_rows
from alexnet.training.checkpoint import load_checkpoint


def last_errors(run: Path) -> Values:
    """Errors in percent after the last epoch, centre patch; not of the best epoch.

    The best of many evaluations on the same images flatters, and flatters most the arm that
    fluctuates most. The training error is that of the whole last epoch, each image seen before its
    update. The curve over the epochs comes along.
    """
    rows = read_rows(run / "metrics.jsonl")
    validations = [row for row in rows if row["split"] == "val"]
    trainings = [row for row in rows if row["split"] == "train"]
    last = validations[-1]
    return {
        "top1_error": 100.0 * last["top1_error"],
        "top5_error": 100.0 * last["top5_error"],
        "train_top1_error": 100.0 * error_before(rows, last["epoch"]),
        "epochs": last["epoch"],
        "curve": [[row["epoch"], 100.0 * row["top1_error"]] for row in validations],
        "images_per_second": trainings[-1]["images_per_second"],
    }


def error_curve(rows: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """Training error over epochs, until the loss is lost.

    A row holds the error on the images since the row before it, each seen before its update, as
    cuda-convnet prints it. Rows are joined until they span a fifth of an epoch, because a few
    batches are chance; what is joined counts for its middle.
    """
    curve = []
    begin = end = wrong = 0.0  # of the stretch: its epochs, and error times length
    for row in (row for row in rows if row["split"] == "train"):
        value = row["top1_error"]
        if value is None or row["loss"] is None:
            break
        wrong += value * (row["epoch"] - end)
        end = row["epoch"]
        if end - begin >= _STRETCH:
            curve.append(((begin + end) / 2, wrong / (end - begin)))
            begin, wrong = end, 0.0
    return curve


_STRETCH = 0.2  # epochs


def epochs_until(rows: list[dict[str, Any]], error: float) -> float | None:
    """Epochs until the training error first is below `error`, interpolated; None: never."""
    return crossing(error_curve(rows), error)


def crossing(curve: Sequence[Sequence[float]], level: float) -> float | None:
    """Where a curve of (epochs, error) first is at the level or below, in straight lines.

    None: nowhere. A curve that begins there is there from its first point on.
    """
    for (epochs, before), (later, here) in pairwise([(0.0, math.inf), *curve]):
        if here > level:
            continue
        if math.isinf(before):
            return later
        return epochs + (before - level) / (before - here) * (later - epochs)
    return None


def error_before(rows: list[dict[str, Any]], epochs: float) -> float:
    """Mean training error over the last epoch before `epochs`, or before the end if earlier.

    As a fraction.
    """
    trainings = [row for row in rows if row["split"] == "train" and row["epoch"] <= epochs]
    last = trainings[-1]["epoch"]
    wrong = begin = 0.0
    for row in trainings:
        share = row["epoch"] - max(begin, last - 1.0)
        wrong += row["top1_error"] * max(0.0, share)
        begin = row["epoch"]
    return float(wrong / min(last, 1.0))


def errors_of_views(run: Path) -> Values:
    """Errors in percent with one and with ten views, weights of the last epoch."""
    model, config = last_network(run)
    world = make_world(config.train.device, config.train.precision)
    source = _source(config)
    images = _load(source, "val", config, world)
    values: Values = {"year": source.year}
    for views in (1, 10):
        found = evaluate_model(model, images, views, world)
        values[f"top1_error_{views}"] = 100.0 * found.top1_error
        values[f"top5_error_{views}"] = 100.0 * found.top5_error
    return values


def cifar_errors(run: Path) -> Values:
    """Error in percent with the run's own number of views, weights of the last epoch."""
    model, config = last_network(run)
    world = make_world(config.train.device, config.train.precision)
    images = load_split(config, "val", world)
    found = evaluate_model(model, images, config.evaluation.views, world)
    one_view = last_errors(run)
    return {
        **one_view,
        "top1_error": 100.0 * found.top1_error,
        "centre_error": one_view["top1_error"],
    }


def errors_with_siblings(run: Path) -> Values:
    """Errors in percent with ten views, of this run and of the average with its siblings.

    Siblings differ in the seed only. Of ILSVRC-2010 it is the test set, whose labels are published.
    The probabilities stay in the run directory; whichever run ends last has all the others'.
    """
    model, config = last_network(run)
    world = make_world(config.train.device, config.train.precision)
    source = _source(config)
    split = "test" if source.test else "val"
    images = _load(source, split, config, world)
    found = evaluate_model(model, images, 10, world)
    write_atomically(run / "ten-views.npy", lambda path: _save(path, found.probabilities))
    files = [
        path
        for path in sorted(run.parent.glob("*/ten-views.npy"))
        if _but_seed(read_config(path.parent / "config.json")) == _but_seed(config)
    ]
    together = average([replace(found, probabilities=np.load(file)) for file in files])
    return {
        "top1_error": 100.0 * found.top1_error,
        "top5_error": 100.0 * found.top5_error,
        "averaged": len(files),
        "averaged_top1_error": 100.0 * together.top1_error,
        "averaged_top5_error": 100.0 * together.top5_error,
        "split": "test" if split == "test" else "validation",
        "year": source.year,
    }


def _but_seed(config: Config) -> Config:
    """The configuration without what may differ between siblings: seed and place of the data."""
    data = replace(config.data, source=Path(config.data.source).name)
    return replace(config, data=data, train=replace(config.train, seed=0))


def kernel_colors(run: Path) -> Values:
    """The colour selectivity of the first layer's kernels, column by column."""
    model, _ = last_network(run)
    kernels = model.conv1.weight.detach().float().cpu().numpy()
    found = compare_columns(kernels)
    means = np.nanmean(found.selectivity, axis=1)
    assert isinstance(model, AlexNet)  # the networks for CIFAR-10 have one column
    assert model.variant.weight_std is not None
    return {
        "selectivity": found.selectivity.tolist(),
        "low": float(means[1 - found.colorful_column]),
        "high": float(means[found.colorful_column]),
        "superiority": found.superiority,
        "p_value": found.p_value,
        "learned": 100.0 * float(learned(kernels, model.variant.weight_std[0]).mean()),
    }


def neighbor_precision(run: Path) -> Values:
    """How many in percent of the six nearest training images are of a validation image's class."""
    model, config = last_network(run)
    world = make_world(config.train.device, config.train.precision)
    gallery, asked = (load_split(config, split, world) for split in ("train", "val"))
    chosen = np.linspace(0, len(asked) - 1, min(_QUERIES, len(asked))).astype(np.int64)
    side = model.variant.image_size

    def same_class(vectors: Vectors) -> float:
        queries = np.concatenate(list(vectors(asked, chosen)))
        places, _ = nearest(queries, vectors(gallery, None), _NEIGHBORS)
        return 100.0 * precision(places, asked.labels[chosen], gallery.labels)

    return {
        "queries": len(chosen),
        "hidden": same_class(lambda images, some: features(model, images, "relu7", world, some)),
        "pixels": same_class(lambda images, some: pixels(images, side, some)),
    }


def _save(path: Path, array: npt.NDArray[np.float32]) -> None:
    with path.open("wb") as file:  # given a name, NumPy would change it
        np.save(file, array)


_NEIGHBORS = 6  # Figure 4 shows six
_QUERIES = 4096  # of more images so many, evenly spread: their pixels take 2.5 GB


def last_network(run: Path) -> tuple[Network, Config]:
    """The network of a finished run with the weights of its last step, and its configuration."""
    model = load(run)
    saved = load_checkpoint(run / "checkpoints")
    assert saved is not None  # a finished run has one
    _, tensors = saved
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    model.load_state_dict(weights)
    return model.eval(), read_config(run / "config.json")


def load_split(config: Config, split: str, world: World) -> ImageSet:
    """The decoded images of a split of a run's data: "train", "val" or "test"."""
    return _load(_source(config), split, config, world)


def _load(source: Source, split: str, config: Config, world: World) -> ImageSet:
    data = config.data
    [images] = open_images(source, [split], world.device, data.size, data.workers)
    return images


def _source(config: Config) -> Source:
    return open_source(config.data.source, validation_fraction=config.data.validation_fraction)
