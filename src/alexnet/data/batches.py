"""Training batches: order, cropping and reading ahead. A batch depends on its step alone."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.config import AugmentConfig
from alexnet.data.augment import (
    color_divisor,
    color_shifts,
    draw,
    has_color_noise,
)
from alexnet.data.pixels import ImageSet
from alexnet.data.statistics import Components
from alexnet.draws import permutation


@dataclass(frozen=True)
class Batch:
    """N training images, cut but not yet coloured.

    Attributes:
        images: (N, 3, S, S) uint8 RGB, channels-last in memory.
        labels: (N,) int64.
        color_shifts: (N, 3) float32 to add to every pixel, or None.
        color_divisor: what mean-free pixels are divided by.
        positions: (N,) place of each sample in the global batch.
    """

    images: Tensor
    labels: Tensor
    color_shifts: Tensor | None
    color_divisor: float
    positions: npt.NDArray[np.int64]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        shifts = self.color_shifts
        return Batch(
            self.images.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            None if shifts is None else shifts.to(device, non_blocking=True),
            self.color_divisor,
            self.positions,
        )

    def colored(self, mean: Tensor) -> Tensor:
        """The images with colour noise, (N, 3, S, S), still with the mean in them.

        Args:
            mean: (3, S, S), what the network will subtract: the authors divide the image by 1.1
                *after* subtracting the mean and adding the noise (convdata_jpeg.py).
        """
        if self.color_shifts is None:
            return self.images
        noisy = self.images + self.color_shifts[:, :, None, None]
        if self.color_divisor == 1.0:
            return noisy
        return mean + (noisy - mean) / self.color_divisor


@dataclass(frozen=True)
class TrainingFeed:
    """Everything that determines the training batches of a run."""

    images: ImageSet
    components: Components
    augment: AugmentConfig
    crop_size: int
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; the last one may be short, so that every image is seen once."""
        return -(-len(self.images) // self.batch_size)

    def batch(self, step: int, order: npt.NDArray[np.int64]) -> Batch:
        """The batch of a step (counted from 0), given the order of its epoch."""
        epoch, place = divmod(step, self.steps_per_epoch)
        samples = order[place * self.batch_size : (place + 1) * self.batch_size]
        draws = draw(
            self.augment, self.seed, epoch, samples, self.images.store.size - self.crop_size
        )
        views = np.column_stack([draws.offsets, draws.mirrored])
        shifts = None
        if has_color_noise(self.augment, epoch):
            shifts = torch.from_numpy(
                color_shifts(
                    self.augment.color, self.augment.color_strength, draws.colors, self.components
                ).astype(np.float32)
            )
        return Batch(
            images=self.images.store.cut(samples, views, self.crop_size),
            labels=torch.from_numpy(self.images.labels[samples]),
            color_shifts=shifts,
            color_divisor=color_divisor(self.augment, epoch),
            positions=np.arange(len(samples)),
        )


def training_batches(
    feed: TrainingFeed, first_step: int, last_step: int, workers: int
) -> Generator[Batch, None, None]:
    """The batches of steps first_step .. last_step - 1, prepared ahead by `workers` threads.

    Begins anywhere at once: nothing before `first_step` is read or drawn.
    """

    def orders() -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for step in range(first_step, last_step):
            if step // feed.steps_per_epoch != epoch:
                epoch = step // feed.steps_per_epoch
                order = permutation(feed.seed, epoch, len(feed.images))
            yield step, order

    ahead: deque[Future[Batch]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    try:
        for step, order in orders():
            ahead.append(pool.submit(feed.batch, step, order))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
