"""The speed of a run counts all the time that training takes, also where a GPU is behind."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from alexnet import AlexNet
from alexnet.config import AugmentConfig, Config, TrainConfig
from alexnet.data.augment import IMAGENET_COMPONENTS
from alexnet.data.batches import TrainingFeed
from alexnet.data.pixels import images_in_memory
from alexnet.evaluation.evaluate import Evaluation
from alexnet.model.changes import resized
from alexnet.model.variants import VARIANTS
from alexnet.parallel.layouts import place
from alexnet.parallel.world import World
from alexnet.training import loop
from alexnet.training.loop import State, Surroundings, train_loop
from alexnet.training.metrics import MetricsLog, read_metrics
from alexnet.training.optimizer import build_optimizer
from alexnet.training.signals import StopRequest

CPU = torch.device("cpu")


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    """Three steps of two images, the second and the last of which are logged."""
    pixels = np.zeros((6, 64, 64, 3), dtype=np.uint8)
    images = images_in_memory(pixels, np.arange(6), [""] * 6)
    measured = Evaluation(
        np.full((6, 6), 1 / 6, np.float32), images.labels, images.keys, "abcdef", 1
    )
    return Surroundings(
        config=Config(train=TrainConfig(epochs=1, batch_size=2, log_every_steps=2, alarm=False)),
        world=World(0, 1, CPU, "fp32"),
        feed=TrainingFeed(images, IMAGENET_COMPONENTS, AugmentConfig(), 64, 2, 0),
        validate=lambda: measured,
        keep_best=lambda: None,
        checkpoint_folder=tmp_path / "checkpoints",
        metrics=MetricsLog(tmp_path / "metrics.jsonl", 0),
        stop=StopRequest(),
    )


def test_what_the_device_still_does_at_a_log_is_training(
    around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 0.0

    def finish(device: torch.device) -> None:
        nonlocal seconds
        seconds += 50.0

    monkeypatch.setattr(loop, "finish", finish)
    clock = SimpleNamespace(perf_counter=lambda: seconds, monotonic=lambda: seconds)
    monkeypatch.setattr(loop, "time", clock)
    network = place(AlexNet(resized(VARIANTS["paper"], 1 / 32, 64), 6), "one", around.world)
    optimizer = build_optimizer(network.parts, around.config.optimizer)
    state = State(network, optimizer, torch.zeros(4, dtype=torch.float64))
    train_loop(state, around)
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if row["split"] == "train"]
    assert [row["images_per_second"] for row in rows] == [4 / 50, 6 / 100]
    assert [row["data_wait_fraction"] for row in rows] == [0.0, 0.0]
    assert state.position.train_seconds == 100.0
