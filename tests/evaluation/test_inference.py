"""Answers do not depend on how the network was made ready."""

import pytest
import torch

from alexnet import AlexNet
from alexnet.evaluation import inference
from alexnet.evaluation.inference import answering, use_fastest_forms
from alexnet.model.changes import resized
from alexnet.model.variants import VARIANTS
from alexnet.parallel.world import make_world


@pytest.fixture(scope="module")
def model() -> AlexNet:
    return AlexNet(resized(VARIANTS["paper"], 0.125), num_classes=6)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, 224, 224), dtype=torch.uint8)


def test_in_fp32_they_are_the_networks_own_logits(model: AlexNet, images: torch.Tensor) -> None:
    answer = answering(model, make_world("cpu", "fp32"))
    with torch.no_grad():
        assert torch.equal(answer(images), model.eval()(images))


def test_in_bf16_they_are_those_of_autocast_and_the_weights_stay_as_they_are(
    model: AlexNet, images: torch.Tensor
) -> None:
    world = make_world("cpu", "bf16")
    answer = answering(model, world)
    with torch.no_grad(), world.autocast():
        expected = model(images).float()
    assert torch.equal(answer(images), expected)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_convolutions_answer_in_the_forms_that_were_measured(
    images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, world = AlexNet(resized(VARIANTS["paper"], 0.125), num_classes=6), make_world("cpu")
    expected = answering(model, world)(images)
    chosen = {"conv1": "blocks", "conv2": "split", "conv4": "dense"}
    monkeypatch.setattr(inference, "choose_forms", lambda *given: chosen)
    use_fastest_forms(model, world)
    assert {name: model.get_submodule(name).form for name in chosen} == chosen
    torch.testing.assert_close(answering(model, world)(images), expected, rtol=0.05, atol=0.05)
