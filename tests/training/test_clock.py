"""The loop by the clock: what counts as training, and when its state is worth saving."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet import AlexNet
from alexnet.config import AugmentConfig, CheckpointConfig, Config, TrainConfig
from alexnet.data.augment import IMAGENET_COMPONENTS
from alexnet.data.batches import TrainingFeed
from alexnet.data.pixels import images_in_memory
from alexnet.evaluation.evaluate import Evaluation
from alexnet.model.changes import resized
from alexnet.model.variants import VARIANTS
from alexnet.parallel.layouts import place
from alexnet.parallel.world import World
from alexnet.rows import RowLog, read_rows
from alexnet.training import loop
from alexnet.training.checkpoint import Position
from alexnet.training.loop import State, Surroundings, train_loop
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
        metrics=RowLog(tmp_path / "metrics.jsonl", 0),
        stop=StopRequest(),
    )


class Clock:
    """In place of `time`: it stands still but for what the test lets pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self.perf_counter = self.monotonic = lambda: self.seconds
        monkeypatch.setattr(loop, "time", self)

    def passing(self, seconds: float) -> None:
        self.seconds += seconds


def _trained(around: Surroundings) -> State:
    network = place(AlexNet(resized(VARIANTS["paper"], 1 / 32, 64), 6), "one", around.world)
    optimizer = build_optimizer(network.parts, around.config.optimizer)
    state = State(network, optimizer, torch.zeros(4, dtype=torch.float64))
    train_loop(state, around)
    return state


def test_what_the_device_still_does_at_a_log_is_training(
    around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(loop, "finish", lambda device: clock.passing(50.0))
    state = _trained(around)
    rows = [row for row in read_rows(tmp_path / "metrics.jsonl") if row["split"] == "train"]
    assert [row["images_per_second"] for row in rows] == [4 / 50, 6 / 100]
    assert [row["data_wait_fraction"] for row in rows] == [0.0, 0.0]
    assert state.position.train_seconds == 100.0


@pytest.mark.parametrize(
    ("saving_takes", "every_steps", "saved_at"),
    [
        (0.5, None, [3, 6, 9, 12, 15, 18]),  # 6 s an epoch: more than ten times as much
        (1.5, None, [3, 12, 18]),  # after 6 s, 18 s later, and at the end
        (100.0, None, [3, 18]),
        (100.0, 4, [3, 4, 6, 8, 9, 12, 15, 16, 18]),  # the user says when
    ],
)
def test_ends_of_epochs_are_saved_where_that_takes_little_of_the_time(
    around: Surroundings,
    monkeypatch: pytest.MonkeyPatch,
    saving_takes: float,
    every_steps: int | None,
    saved_at: list[int],
) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(loop, "finish", lambda device: clock.passing(3.0))  # twice an epoch
    saved = []

    def save(folder: Path, position: Position, tensors: dict[str, torch.Tensor]) -> None:
        clock.passing(saving_takes)
        saved.append(position.step)

    monkeypatch.setattr(loop, "save_checkpoint", save)
    train = replace(around.config.train, epochs=6)
    checkpoint = CheckpointConfig(every_steps=every_steps)
    config = replace(around.config, train=train, checkpoint=checkpoint)
    _trained(replace(around, config=config))
    assert saved == saved_at


def test_processes_that_agree_a_step_later_save_once(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(loop, "finish", lambda device: clock.passing(3.0))
    saved = []
    monkeypatch.setattr(loop, "save_checkpoint", lambda folder, at, tensors: saved.append(at.step))

    class Later:
        """Answers what was asked before, as several processes do."""

        def __init__(self, world: World) -> None:
            self.before = (False, False)

        def ask(self, *wishes: bool) -> tuple[bool, ...]:
            answer, self.before = self.before, wishes  # type: ignore[assignment]
            return answer

        def finish(self) -> None:
            pass

    monkeypatch.setattr(loop, "Agreement", Later)
    _trained(
        replace(
            around,
            config=replace(
                around.config,
                train=TrainConfig(epochs=4, batch_size=2, log_every_steps=2, alarm=False),
            ),
        )
    )
    assert saved == [4, 7, 10, 12]


def test_a_run_that_only_goes_on_to_its_end_is_saved_there_once(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = []
    monkeypatch.setattr(loop, "save_checkpoint", lambda folder, at, tensors: saved.append(at.step))
    state = _trained(around)
    assert saved == [3]
    train_loop(state, around)
    assert saved == [3]
