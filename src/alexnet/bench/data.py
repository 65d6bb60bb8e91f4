"""`alexnet bench data`: how fast images come, against a plain DataLoader with Pillow.

The peer is what most people write: a `Dataset` that opens a file with Pillow, resizes or crops it,
and a `DataLoader` with one process a core. It reads the same files in the same rounds.
"""

import io
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from alexnet.bench.feeding import bench_feeding
from alexnet.bench.measure import Row, interleaved, row
from alexnet.bench.pictures import make_pictures
from alexnet.bench.turns import usual_batch_size
from alexnet.config import AugmentConfig
from alexnet.data.augment import IMAGENET_COMPONENTS
from alexnet.data.batches import TrainingFeed, training_batches
from alexnet.data.loading import Place, load_images
from alexnet.data.prepare import prepare
from alexnet.data.sources import Split, open_source
from alexnet.parallel.memory import resident_bytes
from alexnet.parallel.world import World

_SIZE, _CROP, _BATCH = 256, 224, 128
STEPS = ("native", "batches", "resident", "training", "memory")
_CLASSES = 4  # that pictures of the user's are laid into
_EPOCHS = 3  # of a feed or loader in one measurement, so that its start counts little


@dataclass(frozen=True)
class Plan:
    """What to measure with.

    Attributes:
        images: a folder of class folders; None: pictures made on the spot.
        peers: whether the DataLoader is measured too.
        count: pictures to use at most.
        rounds: how often each contender is run.
        only: one of STEPS, where not all are wanted.
        cores: processes and threads to use.
        world: where resident pixels are tried, if it is no CPU, and where the network trains.
    """

    images: Path | None
    peers: bool
    count: int
    rounds: int
    cores: int
    world: World
    only: str | None = None


def bench_data(plan: Plan) -> Iterator[Row]:
    """Measure every step from a file to a batch, or the one that is wanted.

    Raises:
        UserError: the images cannot be used.
    """
    wanted = STEPS if plan.only is None else (plan.only,)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "pictures"
        if plan.images is None:
            make_pictures(folder, plan.count)
        else:
            _write_some(open_source(str(plan.images)).train, plan.count, folder)
        prepared = Path(scratch) / "prepared"
        skipped = prepare(folder, prepared, workers=plan.cores)["skipped"]
        split = open_source(str(prepared)).train
        if "native" in wanted:
            unusable = {folder / entry["key"] for entry in skipped}  # the peer would end at one
            files = sorted({*folder.rglob("*.jpg")} - unusable)
            yield from _native_rows(plan, folder, files, Path(scratch))
        for step, measure in (
            ("batches", _batch_rows),
            ("resident", _resident_rows),
            ("training", _training_rows),
            ("memory", _memory_rows),
        ):
            if step in wanted:
                yield from measure(plan, split)


def _write_some(split: Split, count: int, folder: Path) -> None:
    """Some images of a split, evenly spread, in a few classes; to speed they are all one."""
    chosen = np.linspace(0, len(split) - 1, min(count, len(split))).astype(int).tolist()
    for place, index in enumerate(chosen):
        inside = folder / f"class{place % _CLASSES}"
        inside.mkdir(parents=True, exist_ok=True)
        (inside / f"{place:06d}.jpg").write_bytes(split.read(index))


def _native_rows(plan: Plan, folder: Path, files: list[Path], scratch: Path) -> list[Row]:
    """Native files, those of the folder that can be used, to squares: decode, cut, encode."""

    def ours() -> float:
        out = scratch / "out"
        shutil.rmtree(out, ignore_errors=True)
        began = time.perf_counter()
        prepare(folder, out, workers=plan.cores)
        return len(files) / (time.perf_counter() - began)

    contenders = {"data/native-to-prepared": ours}
    if plan.peers:
        contenders["data/pillow-dataloader-prepare"] = lambda: _written_speed(
            _Files(files, _squared), plan.cores, scratch / "peer"
        )
    return interleaved(
        contenders, plan.rounds, "images/s", against=["data/pillow-dataloader-prepare"]
    )


def _batch_rows(plan: Plan, split: Split) -> list[Row]:
    """Stored squares to augmented batches."""
    place = Place("stream", torch.device("cpu"), _SIZE, plan.cores)
    streamed, _ = load_images(split, place, "", trusted=True)
    feed = _feed(streamed)
    encoded = [split.read(index) for index in range(len(split))]

    def decoder() -> float:
        began = time.perf_counter()
        for data in encoded:
            Image.open(io.BytesIO(data)).load()
        return len(encoded) / (time.perf_counter() - began)

    def all_decoders() -> float:
        return _threads_speed(encoded, plan.cores)

    contenders: dict[str, Callable[[], float]] = {
        "data/prepared-to-batch": lambda: _feed_speed(feed, plan.cores, _EPOCHS),
        "data/decoder-one-thread": decoder,
        "data/decoder-all-threads": all_decoders,
    }
    if plan.peers:
        contenders["data/pillow-dataloader"] = lambda: _loader_speed(
            _Files(encoded, _cropped), plan.cores, _EPOCHS
        )
    return interleaved(
        contenders,
        plan.rounds,
        "images/s",
        against=["data/pillow-dataloader", "data/decoder-one-thread", "data/decoder-all-threads"],
    )


def _resident_rows(plan: Plan, split: Split) -> list[Row]:
    """Decoded pixels to augmented batches, from host memory by one thread, from a device."""
    place = Place("host", torch.device("cpu"), _SIZE, plan.cores)
    host, _ = load_images(split, place, "", trusted=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = interleaved(
        {"data/host-pixels-one-core": lambda: _feed_speed(_feed(host), 1, epochs=10)},
        plan.rounds,
        "images/s",
    )
    torch.set_num_threads(threads)
    if plan.world.device.type == "cuda":
        contenders = {}
        for kind in ("device", "device-yuv"):
            resident, _ = load_images(
                split, Place(kind, plan.world.device, _SIZE, plan.cores), "", trusted=True
            )
            contenders[f"data/{kind}-pixels"] = partial(_colored_speed, _feed(resident, 1024))
        rows += interleaved(contenders, plan.rounds, "images/s")
    return rows


def _training_rows(plan: Plan, split: Split) -> list[Row]:
    """The network of the paper, fed from the prepared set: on a CPU decoded as it goes."""
    kind, steps = ("stream", 2) if plan.world.device.type == "cpu" else ("device", 50)
    place = Place(kind, plan.world.device, _SIZE, plan.cores)
    batch_size = min(usual_batch_size(plan.world), len(split))
    feed = _feed(load_images(split, place, "", trusted=True)[0], batch_size)
    return bench_feeding(feed, kind, plan.world, steps, plan.rounds, plan.cores)


def _memory_rows(plan: Plan, split: Split) -> list[Row]:
    """Resident memory of this process after the second and the fourth epoch of streaming."""
    place = Place("stream", torch.device("cpu"), _SIZE, plan.cores)
    feed = _feed(load_images(split, place, "", trusted=True)[0])
    after = []
    for _ in range(4):
        _feed_speed(feed, plan.cores)
        after.append(float(resident_bytes()))
    growth = after[3] / after[1] - 1.0
    return [
        row("memory/streaming-feed", after[1:], "bytes"),
        row("memory/streaming-growth", [growth], "fraction over two epochs"),
    ]


def _feed(images: Any, batch_size: int = _BATCH) -> TrainingFeed:
    return TrainingFeed(images, IMAGENET_COMPONENTS, AugmentConfig(), _CROP, batch_size, seed=0)


def _feed_speed(feed: TrainingFeed, workers: int, epochs: int = 1) -> float:
    steps = epochs * feed.steps_per_epoch
    began = time.perf_counter()
    seen = sum(len(batch.labels) for batch in training_batches(feed, 0, steps, workers))
    return seen / (time.perf_counter() - began)


def _colored_speed(feed: TrainingFeed, steps: int = 50) -> float:
    """Crop, mirror, colour and cast on the device."""
    mean = torch.zeros(3, _CROP, _CROP, device="cuda")
    torch.cuda.synchronize()
    began = time.perf_counter()
    seen = 0
    for batch in training_batches(feed, 0, steps, 1):
        seen += len(batch.labels)
        batch.to(mean.device).colored(mean).to(torch.bfloat16)
    torch.cuda.synchronize()
    return seen / (time.perf_counter() - began)


def _threads_speed(encoded: list[bytes], threads: int) -> float:
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        for _ in pool.map(lambda data: Image.open(io.BytesIO(data)).load(), encoded):
            pass
        return len(encoded) / (time.perf_counter() - began)


class _Files(Dataset[Any]):
    """The peer's data set: a function of each file."""

    def __init__(self, files: list[Any], make: Callable[[Any], Any]) -> None:
        self._files, self._make = files, make

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Any:
        return self._make(self._files[index])


def _loader_speed(files: _Files, workers: int, epochs: int = 1) -> float:
    loader = DataLoader(
        files,
        _BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
    )
    began = time.perf_counter()
    seen = sum(len(batch) for _ in range(epochs) for batch in loader)
    return seen / (time.perf_counter() - began)


def _written_speed(files: _Files, workers: int, out: Path) -> float:
    """The peer's squares, each a file of its own; it has neither mean nor manifest to write."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    loader = DataLoader(files, _BATCH, num_workers=workers, collate_fn=list)
    began = time.perf_counter()
    seen = 0
    for squares in loader:
        for encoded in squares:
            (out / f"{seen:06d}.jpg").write_bytes(encoded)
            seen += 1
    return seen / (time.perf_counter() - began)


def _squared(path: Path) -> bytes:
    """Plain Pillow: short side to 256, centre cut, JPEG at quality 95."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    scale = _SIZE / min(image.size)
    across, down = (max(_SIZE, round(side * scale)) for side in image.size)
    image = image.resize((across, down), Image.Resampling.BILINEAR)
    left, top = (across - _SIZE) // 2, (down - _SIZE) // 2
    image = image.crop((left, top, left + _SIZE, top + _SIZE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


def _cropped(encoded: bytes) -> Tensor:
    """Plain Pillow: random crop and mirror image, to a tensor of bytes."""
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    left, top, mirrored = (int(torch.randint(n, (1,))) for n in (33, 33, 2))
    image = image.crop((left, top, left + _CROP, top + _CROP))
    if mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
