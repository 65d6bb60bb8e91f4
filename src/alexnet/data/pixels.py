"""Where decoded pixels live: on the device, in host memory, or nowhere until they are needed.

Whatever the place, the same samples and views give the same pixels: order, crops and mirror images
are decided elsewhere, and every store cuts the same squares (4:2:0 alone rounds colours).
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.data.augment import View
from alexnet.data.images import BadImage, load_square
from alexnet.data.rooms import Rooms
from alexnet.data.sources import Split
from alexnet.data.yuv import rgb_from_yuv, yuv_from_rgb
from alexnet.errors import UserError

Pixels = npt.NDArray[np.uint8]
Samples = Sequence[int] | npt.NDArray[np.int64]
Views = Sequence[View] | npt.NDArray[np.int64]
"""A view for each sample, or (n, 3) of the same numbers."""


class PixelStore(Protocol):
    """The pixels of N square images, wherever they are."""

    @property
    def size(self) -> int:
        """Side of the images in pixels."""

    def cut(self, samples: Samples, views: Views, side: int) -> Tensor:
        """One view of each sample: (n, 3, side, side) uint8, channels-last, where the store is."""

    def take(self, start: int, stop: int) -> "PixelStore":
        """The images start .. stop - 1, decoded, for looking at them more than once."""

    def picture(self, sample: int) -> Pixels:
        """A whole image, (size, size, 3)."""


@dataclass(frozen=True)
class HostPixels:
    """Pixels in host memory.

    Attributes:
        pixels: (N, S, S, 3) uint8 RGB.
        rooms: what batches are cut into.
    """

    pixels: Tensor
    rooms: Rooms = field(default_factory=Rooms)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return int(self.pixels.shape[1])

    def cut(self, samples: Samples, views: Views, side: int) -> Tensor:
        """As `PixelStore.cut`."""
        batch = self.rooms.empty(len(samples), side, side, 3)
        for row, sample, view in zip(batch, samples, views, strict=True):
            _cut_one(self.pixels[int(sample)], view, side, row)
        return batch.permute(0, 3, 1, 2)

    def take(self, start: int, stop: int) -> "HostPixels":
        """As `PixelStore.take`."""
        return HostPixels(self.pixels[start:stop], self.rooms)

    def picture(self, sample: int) -> Pixels:
        """As `PixelStore.picture`."""
        return self.pixels[sample].numpy()


@dataclass(frozen=True)
class StreamedPixels:
    """Pixels that are decoded each time they are needed, by the thread that asks."""

    split: Split
    size: int
    workers: int  # threads that `take` decodes with
    rooms: Rooms = field(default_factory=Rooms)

    def cut(self, samples: Samples, views: Views, side: int) -> Tensor:
        """As `PixelStore.cut`.

        Raises:
            UserError: an image has gone or was damaged since the run began.
        """
        batch = self.rooms.empty(len(samples), side, side, 3)
        for row, sample, view in zip(batch, samples, views, strict=True):
            _cut_one(torch.from_numpy(self.picture(int(sample))), view, side, row)
        return batch.permute(0, 3, 1, 2)

    def take(self, start: int, stop: int) -> HostPixels:
        """As `PixelStore.take`; errors as for `cut`."""
        with ThreadPoolExecutor(self.workers) as pool:
            pictures = list(pool.map(self.picture, range(start, stop)))
        return HostPixels(torch.from_numpy(np.stack(pictures)))

    def picture(self, sample: int) -> Pixels:
        """As `PixelStore.picture`."""
        try:
            return load_square(self.split.read(sample), self.size)
        except (BadImage, OSError) as error:
            raise UserError(f"{self.split.keys[sample]} cannot be read any more: {error}") from None


@dataclass(frozen=True)
class DevicePixels:
    """Pixels in the memory of the device that computes; cutting is one gather.

    Attributes:
        planes: (N, S, S, 3) uint8 RGB, or the pair of `yuv_from_rgb` at half the memory.
    """

    planes: Tensor | tuple[Tensor, Tensor]

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        first = self.planes if isinstance(self.planes, Tensor) else self.planes[0]
        return int(first.shape[1])

    def cut(self, samples: Samples, views: Views, side: int) -> Tensor:
        """As `PixelStore.cut`."""
        device = self.planes.device if isinstance(self.planes, Tensor) else self.planes[0].device
        # One small transfer carries all that the gather needs to know, and no loop makes it: half a
        # million images a second leave two microseconds for each.
        rows = np.column_stack([np.asarray(samples), np.asarray(views)]).astype(np.int64)
        plan = torch.from_numpy(rows).to(device, non_blocking=True)
        sample, top, left, mirrored = (column[:, None, None] for column in plan.unbind(1))
        along = torch.arange(side, device=device)
        y = top + along[None, :, None]  # (n, side, 1)
        forwards = along[None, None, :]
        x = left + torch.where(mirrored.bool(), side - 1 - forwards, forwards)  # (n, 1, side)
        if isinstance(self.planes, Tensor):
            batch = self.planes[sample, y, x]
        else:
            luma, chroma = self.planes
            batch = rgb_from_yuv(luma[sample, y, x], chroma[sample, y // 2, x // 2])
        return batch.permute(0, 3, 1, 2)

    def take(self, start: int, stop: int) -> "DevicePixels":
        """As `PixelStore.take`."""
        if isinstance(self.planes, Tensor):
            return DevicePixels(self.planes[start:stop])
        return DevicePixels((self.planes[0][start:stop], self.planes[1][start:stop]))

    def picture(self, sample: int) -> Pixels:
        """As `PixelStore.picture`."""
        whole = self.cut([sample], [(0, 0, False)], self.size)
        return whole[0].permute(1, 2, 0).cpu().numpy()


@dataclass(frozen=True)
class ImageSet:
    """Labelled images in a fixed order.

    Attributes:
        store: their pixels.
        labels: (N,) int64.
        keys: the name of each image.
        skipped: (name, reason) of what could not be read.
    """

    store: PixelStore
    labels: npt.NDArray[np.int64]
    keys: Sequence[str]
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)


def images_in_memory(
    pixels: Pixels, labels: npt.NDArray[np.int64], keys: Sequence[str]
) -> ImageSet:
    """The image set of (N, S, S, 3) pixels that are decoded already."""
    return ImageSet(HostPixels(torch.from_numpy(pixels)), labels, keys)


def decoded(split: Split, size: int, workers: int) -> Iterator[tuple[int, Pixels | str]]:
    """Each image of a split in order: (index, pixels), or (index, reason) where unreadable."""

    def load(index: int) -> Pixels | str:
        try:
            return load_square(split.read(index), size)
        except BadImage as error:
            return str(error)
        except OSError as error:
            return error.strerror or str(error)

    ahead = 64 * workers
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        for start in range(0, len(split), ahead):
            indices = range(start, min(start + ahead, len(split)))
            yield from zip(indices, pool.map(load, indices), strict=True)


def empty_store(place: str, images: int, size: int, device: torch.device) -> "Filling":
    """A store of the given kind to be filled with `images` images at most.

    Raises:
        UserError: the memory is not there.
    """
    where = torch.device("cpu") if place == "host" else device
    try:
        if place == "device-yuv":
            luma = torch.empty(images, size, size, dtype=torch.uint8, device=where)
            chroma = torch.empty(images, size // 2, size // 2, 2, dtype=torch.uint8, device=where)
            return Filling(place, (luma, chroma))
        pixels = torch.empty(images, size, size, 3, dtype=torch.uint8, device=where)
        return Filling(place, pixels, Rooms(pinned=device.type == "cuda"))
    except (RuntimeError, MemoryError):
        raise UserError(
            f"{images} images of {size}x{size} pixels do not fit into memory ({place}); "
            "use --set data.pixels=stream"
        ) from None


class Filling:
    """A store that is being filled, image by image in order.

    Images are collected and moved to their place together, so that a device gets few large copies.
    """

    _TOGETHER = 64

    def __init__(
        self, place: str, planes: Tensor | tuple[Tensor, Tensor], rooms: Rooms | None = None
    ) -> None:
        self._place = place
        self._rooms = rooms or Rooms()
        self._planes = planes
        self._count = 0
        self._waiting: list[Pixels] = []

    def add(self, pixels: Pixels) -> None:
        """The next image, (S, S, 3)."""
        self._waiting.append(pixels)
        if len(self._waiting) == self._TOGETHER:
            self._move()

    def store(self) -> PixelStore:
        """The images added so far."""
        self._move()
        if isinstance(self._planes, Tensor):
            filled = self._planes[: self._count]
            host = HostPixels(filled, self._rooms)
            return host if self._place == "host" else DevicePixels(filled)
        luma, chroma = self._planes
        return DevicePixels((luma[: self._count], chroma[: self._count]))

    def _move(self) -> None:
        if not self._waiting:
            return
        images = torch.from_numpy(np.stack(self._waiting))
        self._waiting.clear()
        end = self._count + len(images)
        if isinstance(self._planes, Tensor):
            self._planes[self._count : end] = images
        else:
            luma, chroma = self._planes
            parts = yuv_from_rgb(images.to(luma.device))
            luma[self._count : end], chroma[self._count : end] = parts
        self._count = end


def _cut_one(image: Tensor, view: View | npt.NDArray[np.int64], side: int, out: Tensor) -> None:
    top, left, mirrored = (int(value) for value in view)
    window = image[top : top + side, left : left + side]
    out.copy_(window.flip(1) if mirrored else window)
