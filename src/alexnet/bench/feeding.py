"""Whether training waits for images: the same steps on real batches and on one that is there."""

import time
from collections.abc import Iterator
from itertools import repeat

import torch
import torch.nn.functional as F

from alexnet.bench.measure import Row, interleaved, row
from alexnet.bench.turns import our_network
from alexnet.config import AugmentConfig, OptimizerConfig
from alexnet.data.augment import IMAGENET_COMPONENTS
from alexnet.data.batches import Batch, TrainingFeed, training_batches
from alexnet.data.loading import Place, load_images
from alexnet.data.sources import Split
from alexnet.model.variants import VARIANTS
from alexnet.parallel.world import World
from alexnet.training.optimizer import build_optimizer

_STORED, _CROP = 256, 224


class _Trainer:
    """The whole network of the paper, and steps of it whose waiting is counted."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._model = our_network(VARIANTS["paper"], world).train()
        self._optimizer = build_optimizer(self._model, OptimizerConfig(lr=1e-6))
        self.waits: list[float] = []

    def speed(self, batches: Iterator[Batch], steps: int) -> float:
        """Images a second."""
        self._finish()
        began, waited, seen = time.perf_counter(), 0.0, 0
        for _ in range(steps):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            self._step(batch.to(self._world.device))
            seen += batch.total
        self._finish()
        seconds = time.perf_counter() - began
        self.waits.append(waited / seconds)
        return seen / seconds

    def _step(self, batch: Batch) -> None:
        with self._world.autocast():
            logits = self._model(batch.colored(self._model.mean))
        self._optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), batch.labels).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def _finish(self) -> None:
        if self._world.device.type == "cuda":
            torch.cuda.synchronize(self._world.device)


def bench_feeding(
    split: Split, kind: str, world: World, batch_size: int, steps: int, rounds: int, cores: int
) -> list[Row]:
    """Training fed from a prepared set against training on one batch, and the share of waiting.

    Args:
        split: of a prepared set of 256 x 256 images.
        kind: where its pixels live, as for `Place`.
        world: where the network computes.
        batch_size, steps: of a turn.
        rounds: that count.
        cores: threads that decode.
    """
    place = Place(kind, world.device, _STORED, cores)
    images, _ = load_images(split, place, "", trusted=True)
    feed = TrainingFeed(images, IMAGENET_COMPONENTS, AugmentConfig(), _CROP, batch_size, seed=0)
    turns = steps * (rounds + 1)
    fed, synthetic = _Trainer(world), _Trainer(world)
    there = next(training_batches(feed, 0, 1, 1)).to(world.device)
    batches = training_batches(feed, 0, turns, cores)
    name = f"training/fed-{kind}"
    rows = interleaved(
        {
            name: lambda: fed.speed(batches, steps),
            "training/synthetic": lambda: synthetic.speed(repeat(there), steps),
        },
        rounds,
        "images/s",
        against=["training/synthetic"],
    )
    return [*rows, row(f"training/waiting-{kind}", fed.waits[1:], "of the time")]
