"""Ten ways to break a training, each on purpose, and the healthy run beside them.

As a program it makes them all and says what the doctor says (`benchmarks/doctor_*.json`):

    python tests/broken_runs.py --out FOLDER [--healthy 20]
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from alexnet.data.digits import open_digits
from alexnet.data.images import decode
from alexnet.doctor.run import examine_run
from alexnet.errors import UserError
from alexnet.model.network import AlexNet
from alexnet.training import data as training_data
from alexnet.training import run as training_run
from alexnet.training.checkpoint import Position, save_checkpoint
from alexnet.training.choices import resolve_config
from alexnet.training.directory import config_of, create_run
from alexnet.training.watch import VERDICT, read_findings

# A narrow network on small pictures.
SMALL = (
    *("model.width=0.125", "model.image_size=64", "data.size=72"),
    *("train.batch_size=32", "augment.color=none", "augment.crop=center", "augment.mirror=false"),
    *("train.device=cpu", "train.precision=fp32"),
)
LR = 0.005

Labelled = list[tuple[npt.NDArray[np.uint8], int]]


def digits(train: int, validation: int) -> tuple[Labelled, Labelled]:
    """Grey 8x8 digits and their labels, in the order of their classes."""
    source = open_digits()
    splits = []
    for split, count in ((source.train, train), (source.validation, validation)):
        chosen = np.linspace(0, len(split) - 1, min(count, len(split))).astype(int).tolist()
        chosen.sort(key=lambda i: (int(split.labels[i]), i))
        splits.append(
            [(np.asarray(decode(split.read(i)).convert("L")), int(split.labels[i])) for i in chosen]
        )
    return splits[0], splits[1]


def write_folder(root: Path, train: Labelled, validation: Labelled) -> Path:
    """root/train/CLASS/*.png and root/val/CLASS/*.png."""
    for name, images in (("train", train), ("val", validation)):
        for number, (pixels, label) in enumerate(images):
            folder = root / name / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number:05d}.png")
    return root


@dataclass(frozen=True)
class Break:
    """One way to break a run.

    Attributes:
        name: in words.
        expected: the finding that names it.
        lr: the rate.
        changes: of the configuration.
        spoil: changes the images before they are written.
        prepare: changes the run directory before it is trained.
        shuffled: whether batches are in random order.
    """

    name: str
    expected: str | None
    lr: float = LR
    changes: Sequence[str] = ()
    spoil: Callable[[Labelled, Labelled], tuple[Labelled, Labelled]] = lambda t, v: (t, v)
    prepare: Callable[[Path], None] = lambda run: None
    shuffled: bool = True
    truncate: float = 0.0  # share of the files that are cut in half


def _unit_variance(train: Labelled, validation: Labelled) -> tuple[Labelled, Labelled]:
    everything = np.stack([pixels for pixels, _ in train]).astype(np.float64)
    mean, deviation = everything.mean(), everything.std()

    def normalised(images: Labelled) -> Labelled:
        return [
            (np.rint(128 + (pixels - mean) / deviation).astype(np.uint8), label)
            for pixels, label in images
        ]

    return normalised(train), normalised(validation)


def _shuffle_labels(train: Labelled, validation: Labelled) -> tuple[Labelled, Labelled]:
    rng = np.random.default_rng(0)

    def shuffled(images: Labelled) -> Labelled:
        labels = rng.permutation([label for _, label in images]).tolist()
        return [(pixels, label) for (pixels, _), label in zip(images, labels, strict=True)]

    return shuffled(train), shuffled(validation)


def _one_class(train: Labelled, validation: Labelled) -> tuple[Labelled, Labelled]:
    """99 % of the training images show a 3; validation stays even."""
    threes = [image for image in train if image[1] == 3]
    others = [image for image in train if image[1] != 3]
    rare = [
        next(image for image in others if image[1] == label) for label in range(10) if label != 3
    ]
    many: Labelled = []
    for number in range(99 * len(rare)):
        pixels = threes[number % len(threes)][0].copy()
        pixels[number // len(threes) % 8, number % 8] ^= 1  # different files
        many.append((pixels, 3))
    return [*many, *rare], validation


def _leak(train: Labelled, validation: Labelled) -> tuple[Labelled, Labelled]:
    return [*train, *validation], validation


def _noise(train: Labelled, validation: Labelled) -> tuple[Labelled, Labelled]:
    rng = np.random.default_rng(0)

    def spoiled(images: Labelled) -> Labelled:
        return [
            (rng.integers(0, 256, (64, 64), dtype=np.uint8), label) if i % 2 else (pixels, label)
            for i, (pixels, label) in enumerate(images)
        ]

    return spoiled(train), spoiled(validation)


def _begin_with(change: Callable[[AlexNet], None]) -> Callable[[Path], None]:
    """Let a run begin with a changed network, by a checkpoint at step 0."""

    def prepare(run: Path) -> None:
        config = config_of(run)
        world = training_run.make_world("cpu", "fp32")
        data = training_data.load_data(config, world)
        state, _ = training_run._state(run, config, world, data)
        with torch.no_grad():
            change(state.network.outline)
        save_checkpoint(run / "checkpoints", Position(), state.tensors())

    return prepare


def _kill_relus(model: AlexNet) -> None:
    model.conv3.bias.fill_(-1e4)  # type: ignore[union-attr]


def _zero_mean(model: AlexNet) -> None:
    model.mean.fill_(0.45)  # that of pixels in 0..1, as other libraries subtract it


HEALTHY = Break("healthy", None)
BREAKS = (
    Break("rate 100 times too high", "rate-too-high", lr=100 * LR),
    Break("rate 100 times too low", "rate-too-low", lr=LR / 100),
    Break(
        "0.01 initial weights on unit-variance inputs",
        "drowned-signal",
        changes=("model.variant=paper-literal", "model.initial_scale=0.35"),
        spoil=_unit_variance,
    ),
    Break("all labels shuffled", "labels-do-not-fit", spoil=_shuffle_labels),
    Break("one class 99 %", "one-class-dominates", spoil=_one_class),
    Break("dead ReLUs", "dead-relus", prepare=_begin_with(_kill_relus)),
    Break("validation leaked into training", "validation-leaks", spoil=_leak),
    Break("wrong mean", "wrong-mean", prepare=_begin_with(_zero_mean)),
    Break("no shuffling", "not-shuffled", shuffled=False),
    Break("half of the images corrupted", "corrupted-images", spoil=_noise),
    Break("half of the images cut short", "unreadable-images", truncate=0.5),
)


def make_run(
    broken: Break,
    folder: Path,
    seed: int = 0,
    train: int = 640,
    validation: int = 200,
    epochs: int = 5,
    changes: Sequence[str] = (),
) -> tuple[Path, str | None]:
    """Make the images and train; the run directory, and what stopped it."""
    data = write_folder(folder / "images", *broken.spoil(*digits(train, validation)))
    if broken.truncate:
        for number, path in enumerate(sorted((data).rglob("*.png"))):
            if number % round(1 / broken.truncate) == 0:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assignments = (*SMALL, f"train.epochs={epochs}", f"optimizer.lr={broken.lr}")
    config = resolve_config(
        str(data), "default", [*assignments, f"train.seed={seed}", *broken.changes, *changes]
    )
    run = create_run(config, folder / "run")
    broken.prepare(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run, "write_run_report", lambda *things: None)
        if not broken.shuffled:
            patch.setattr(
                "alexnet.data.batches.permutation", lambda seed, epoch, count: np.arange(count)
            )
        try:
            training_run.resume(run)
        except UserError as error:
            return run, str(error)
    return run, None


def _main() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--healthy", type=int, default=20)
    parser.add_argument("--alarm", choices=("true", "false"), default="true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    result = options.out / "doctor.json"
    rows = json.loads(result.read_text()) if result.exists() else []
    jobs = [(f"{b.name}", b, 0) for b in BREAKS if options.only in b.name]
    jobs += [(f"healthy, seed {seed}", HEALTHY, seed) for seed in range(options.healthy)]
    for name, broken, seed in jobs:
        if any(row["name"] == name for row in rows):
            continue
        folder = options.out / "now"
        shutil.rmtree(folder, ignore_errors=True)
        run, stopped = make_run(
            broken, folder, seed, epochs=8, changes=[f"train.alarm={options.alarm}"]
        )
        diagnosis = examine_run(run)
        rows.append(
            {
                "name": name,
                "expected": broken.expected,
                "found": [[f.severity, f.name] for f in diagnosis.findings],
                "watch": [f.name for f in read_findings(run) if f.name != VERDICT],
                "stopped": stopped,
                "validation_error": diagnosis.facts.get("validation_error"),
                "largest_update_ratio": diagnosis.facts.get("largest_update_ratio"),
                "initial_signal": diagnosis.facts.get("initial_signal"),
            }
        )
        result.write_text(json.dumps(rows, indent=1) + "\n")
        print(json.dumps(rows[-1]), flush=True)


if __name__ == "__main__":
    _main()
