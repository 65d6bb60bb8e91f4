"""From a split to pixels in their place: one pass that decodes, keeps, sums and lists."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from alexnet.data.pixels import (
    Filling,
    ImageSet,
    Pixels,
    PixelStore,
    StreamedPixels,
    decoded,
    empty_store,
)
from alexnet.data.rooms import Rooms
from alexnet.data.sources import SPLITS, Source, Split
from alexnet.data.sums import Sums, sum_images
from alexnet.errors import UserError
from alexnet.parallel.memory import device_budget, host_budget
from alexnet.progress import Meter, say

_SHOWN = 10  # images that are left out are named, so many of them
_WORDS = {
    "device": "decoded once, kept on the device",
    "device-yuv": "decoded once, kept on the device as 4:2:0",
    "host": "decoded once, kept in host memory",
    "stream": "decoded anew for every batch",
}


@dataclass(frozen=True)
class Place:
    """Where the pixels of a run live.

    Attributes:
        kind: device, device-yuv, host or stream.
        device: the device that computes.
        size: side of the stored squares in pixels.
        workers: threads that decode.
    """

    kind: str
    device: torch.device
    size: int
    workers: int

    @property
    def in_words(self) -> str:
        """What a user is told."""
        return _WORDS[self.kind]


def choose_place(
    images: int, device: torch.device, size: int, workers: int, wanted: str = "auto"
) -> Place:
    """The fastest place in which so many images fit, or the one that is wanted.

    Raises:
        UserError: what is wanted cannot hold images of an odd size.
    """
    halves = size % 2 == 0  # 4:2:0 has a colour for every two pixels each way
    if wanted == "device-yuv" and not halves:
        raise UserError(f"data.pixels=device-yuv needs an even data.size, not {size}")
    rgb = images * size * size * 3
    if wanted == "auto":
        on_device = device_budget(device)
        fitting = [
            kind
            for kind, needed, budget in (
                ("device", rgb, on_device),
                ("device-yuv", rgb // 2, on_device),
                ("host", rgb, host_budget()),
            )
            if needed <= budget and (halves or kind != "device-yuv")
        ]
        wanted = fitting[0] if fitting else "stream"
    return Place(wanted, device, size, workers)


def load_images(
    split: Split, place: Place, title: str, summed: bool = False, trusted: bool = False
) -> tuple[ImageSet, Sums | None]:
    """Bring a split to its place; images that cannot be read are left out and listed.

    Args:
        split: what to decode.
        place: where its pixels shall live.
        title: of the progress.
        summed: whether the sums over all images are wanted.
        trusted: every image is known to be readable, as in a prepared set; then a split that is
            streamed and needs no sums is not read now.

    Raises:
        UserError: the memory is not there.
    """
    if place.kind == "stream" and trusted and not summed:
        store = _streamed(split, place)
        return ImageSet(store, split.labels, split.keys), None
    filling = (
        None
        if place.kind == "stream"
        else empty_store(place.kind, len(split), place.size, place.device)
    )
    reading = _Reading(split, place, filling)
    with Meter(title, len(split)) as meter:
        images = reading.images(meter)
        sums = sum_images(images, place.size) if summed else None
        for _ in images:  # where no sums are wanted, nobody has read them yet
            pass
    return reading.result(), sums


def open_images(
    source: Source, names: Sequence[str], device: torch.device, size: int, workers: int
) -> list[ImageSet]:
    """Splits to measure on or to show, in the fastest place in which all of them fit.

    What was decided on the way is said; images that cannot be read are named and left out.

    Args:
        source: of the images.
        names: of the splits, of SPLITS.
        device: that computes.
        size: side of the stored squares in pixels.
        workers: threads that decode.

    Raises:
        UserError: there is no such split, or the memory is not there.
    """
    splits = [source.split(name) for name in names]
    place = choose_place(sum(len(split) for split in splits), device, size, workers)
    trusted = source.statistics is not None
    opened = [
        load_images(split, place, f"reading {SPLITS[name]}", trusted=trusted)[0]
        for name, split in zip(names, splits, strict=True)
    ]
    say_what_was_left_out(source, [skipped for images in opened for skipped in images.skipped])
    return opened


def say_what_was_left_out(source: Source, skipped: Sequence[tuple[str, str]]) -> None:
    """Say what was decided of a source, and name its images, (name, reason), that are left out.

    Of many the first.
    """
    for note in source.notes:
        say(note)
    for key, reason in skipped[:_SHOWN]:
        say(f"skipped {key}: {reason}")
    if len(skipped) > _SHOWN:
        say(f"skipped {len(skipped) - _SHOWN} more unreadable images")


def _streamed(split: Split, place: Place) -> StreamedPixels:
    rooms = Rooms(pinned=place.device.type == "cuda")
    return StreamedPixels(split, place.size, place.workers, rooms)


class _Reading:
    """One pass over a split: fills the store, and notes what was kept and what was not."""

    def __init__(self, split: Split, place: Place, filling: Filling | None) -> None:
        self._split, self._place, self._filling = split, place, filling
        self._kept: list[int] = []
        self._skipped: list[tuple[str, str]] = []

    def images(self, meter: Meter) -> Iterator[Pixels]:
        """Every readable image, in order."""
        for index, pixels in decoded(self._split, self._place.size, self._place.workers):
            meter.advance()
            if isinstance(pixels, str):
                self._skipped.append((self._split.keys[index], pixels))
                continue
            self._kept.append(index)
            if self._filling:
                self._filling.add(pixels)
            yield pixels

    def result(self) -> ImageSet:
        """What the pass found."""
        split = self._split
        if self._skipped:
            split = split.take(np.array(self._kept, dtype=np.int64))
        store: PixelStore = (
            self._filling.store() if self._filling else _streamed(split, self._place)
        )
        return ImageSet(store, split.labels, split.keys, self._skipped)
