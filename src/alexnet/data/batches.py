"""Training batches: order, cropping and reading ahead. A batch depends on its step alone."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

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

NO_IMAGE = -100  # the label of a row that only fills up a slice (torch's ignore_index)


@dataclass(frozen=True)
class Batch:
    """N training images, cut but not yet coloured: all of a step, or one process's part of them.

    Attributes:
        images: (N, 3, S, S) uint8 RGB, channels-last in memory.
        labels: (N,) int64; `NO_IMAGE` where a row counts for nothing.
        color_shifts: (N, 3) float32 to add to every pixel, or None.
        color_divisor: what mean-free pixels are divided by.
        positions: (N,) place of each sample in the global batch.
        total: images in the step, on all processes and in all passes.
        ends_step: whether the update follows.
    """

    images: Tensor
    labels: Tensor
    color_shifts: Tensor | None
    color_divisor: float
    positions: npt.NDArray[np.int64]
    total: int
    ends_step: bool = True

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        shifts = self.color_shifts
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            color_shifts=None if shifts is None else shifts.to(device, non_blocking=True),
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
        # The result takes its memory format from the first operand: images are channels-last.
        return (noisy - mean) / self.color_divisor + mean


@dataclass(frozen=True)
class TrainingFeed:
    """Everything that determines the training batches of a run, and which part of them is ours.

    Attributes:
        batch_size: images in a step, on all processes.
        micro_batch_size: images in one pass through this process's device; None: all it takes.
        slice_index, slice_count: this process's part of every batch.
    """

    images: ImageSet
    components: Components
    augment: AugmentConfig
    crop_size: int
    batch_size: int
    seed: int
    micro_batch_size: int | None = None
    slice_index: int = 0
    slice_count: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; the last one may be short, so that every image is seen once."""
        return -(-len(self.images) // self.batch_size)

    def passes(self, step: int) -> int:
        """Into how many passes this process divides its slice of the step's batch."""
        if self.micro_batch_size is None:
            return 1
        return -(-self._images_of(step) // (self.micro_batch_size * self.slice_count))

    def batch(self, step: int, order: npt.NDArray[np.int64], number: int = 0) -> Batch:
        """One pass of a step (both counted from 0), given the order of the step's epoch.

        All slices of all passes are equally long; what is missing of the last ones is filled up
        with images that count for nothing.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        total, passes = self._images_of(step), self.passes(step)
        length = -(-total // (passes * self.slice_count))
        positions = np.arange(length) + (number * self.slice_count + self.slice_index) * length
        filling = positions >= total
        positions[filling] = 0
        samples = order[place * self.batch_size + positions]
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
            labels=torch.from_numpy(np.where(filling, NO_IMAGE, self.images.labels[samples])),
            color_shifts=shifts,
            color_divisor=color_divisor(self.augment, epoch),
            positions=positions,
            total=total,
            ends_step=number == passes - 1,
        )

    def _images_of(self, step: int) -> int:
        done = step % self.steps_per_epoch * self.batch_size
        return min(self.batch_size, len(self.images) - done)


def training_batches(
    feed: TrainingFeed, first_step: int, last_step: int, workers: int
) -> Generator[Batch, None, None]:
    """The batches of steps first_step .. last_step - 1, prepared ahead by `workers` threads.

    A step of several passes has several batches, the last of which ends it.

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
            for number in range(feed.passes(step)):
                ahead.append(pool.submit(feed.batch, step, order, number))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
