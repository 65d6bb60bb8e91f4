"""What the watch and the alarm look at does not grow with the batch."""

from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from alexnet.config import ModelConfig
from alexnet.training.alarm import unchanging_units
from alexnet.training.watch import Watch


class Model:
    """A network that notes how many images it was shown."""

    variant = SimpleNamespace(activation="relu", weight_layers=("fc8",))
    training = True

    def __init__(self) -> None:
        self.shown: list[int] = []

    def eval(self) -> None:
        self.training = False

    def train(self, mode: bool) -> None:
        self.training = mode

    def get_submodule(self, name: str) -> torch.nn.Module:
        layer = torch.nn.Linear(2, 2)
        torch.nn.init.constant_(layer.weight, -2.0)
        return layer

    def activations(self, images: Tensor) -> OrderedDict[str, Tensor]:
        self.shown.append(len(images))
        return OrderedDict(relu1=torch.ones(len(images), 2, 1, 1), fc8=torch.ones(len(images), 3))


def test_many_images_are_watched_by_some(tmp_path: Path) -> None:
    """Every stage of all images of the largest batch would not fit beside its step."""
    model: Any = Model()
    feed: Any = SimpleNamespace(images=SimpleNamespace(labels=np.arange(200) % 3))
    (tmp_path / "metrics.jsonl").touch()
    watch = Watch(tmp_path, feed, 3, 0.01, 0.0, np.zeros(10, dtype=np.int64), ModelConfig())
    optimizer: Any = SimpleNamespace(param_groups=[])
    batch: Any = SimpleNamespace(labels=torch.arange(200) % 3)
    images = torch.zeros(200, 3, 2, 2)
    vitals = watch.measure(optimizer, model, batch, images, whole=True)
    assert {"signal", "dead_units"} <= vitals.keys()
    assert vitals["weight_sizes"] == {"fc8": 2.0}
    assert vitals["output_sizes"] == {"fc8": pytest.approx(1.0)}
    assert unchanging_units(model, images) == {"relu1": 1.0}
    watch.measure(optimizer, model, batch, images[:20], whole=True)
    assert model.shown == [64, 64, 20]
    assert model.training
