"""Prediction on files: the network is made ready once, however many there are."""

from pathlib import Path

import pytest

from alexnet import AlexNet
from alexnet.evaluation import evaluate, predict
from alexnet.evaluation.inference import Answer, answering
from alexnet.evaluation.predict import Predictor
from alexnet.model.build import Network
from alexnet.model.changes import resized
from alexnet.model.variants import VARIANTS
from alexnet.parallel.world import World


def test_the_network_is_made_ready_once(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def counted(model: Network, world: World) -> Answer:
        made.append(world.precision)
        return answering(model, world)

    monkeypatch.setattr(predict, "_BATCH", 4)
    monkeypatch.setattr(predict, "answering", counted)
    monkeypatch.setattr(evaluate, "answering", counted)
    model = AlexNet(resized(VARIANTS["paper"], 1 / 32, 64), num_classes=3)
    monkeypatch.setattr(predict, "load", lambda place: model)
    predictor = Predictor("run", "cpu")
    several = predictor(image_folder / "val" / "blue", top=1)
    again = predictor(image_folder / "val" / "blue", top=1)
    assert len(several) == 10
    assert several == again
    assert len(made) == 1
