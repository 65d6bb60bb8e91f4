"""The vitals against numbers computed by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from alexnet.config import ModelConfig, OptimizerConfig
from alexnet.model.changes import resolve
from alexnet.model.network import AlexNet
from alexnet.parallel.parts import Part
from alexnet.training.optimizer import build_optimizer, set_rates
from alexnet.training.schedule import Rates
from alexnet.training.vitals import (
    dead_channels,
    mixing,
    output_sizes,
    quiet_activations,
    signal,
    update_ratios,
    weight_sizes,
)


@pytest.mark.parametrize("kind", ["2012", "sgd", "adamw"])
def test_update_ratios_are_those_of_the_weights_before_and_after(kind: str) -> None:
    model = AlexNet(resolve(ModelConfig(width=1 / 32, image_size=48)), num_classes=3)
    config = OptimizerConfig(kind=kind, lr=0.01, weight_decay=0.0)  # type: ignore[arg-type]
    optimizer = build_optimizer(model, config)
    torch.manual_seed(0)
    images = torch.rand(4, 3, 48, 48) * 255
    for _ in range(3):
        before = {n: model.get_submodule(n).weight.detach().clone() for n in ("conv1", "fc8")}
        set_rates(optimizer, Rates(0.01, 0.01, {"conv2": 0.0}))
        optimizer.zero_grad()
        (100.0 * model(images).logsumexp(1).mean()).backward()
        optimizer.step()
    ratios = update_ratios(optimizer)
    assert "conv2" not in ratios
    for name, old in before.items():
        new = model.get_submodule(name).weight.detach()
        rows = slice(None, None, max(1, len(new) // 16))
        expected = ((new - old)[rows].norm() / new[rows].norm()).item()
        assert ratios[name] == pytest.approx(expected, rel=2e-2)


def test_update_ratios_of_a_layer_in_parts_are_those_of_the_whole() -> None:
    """As with two columns, whose conv3 keeps the weights of either column's maps apart."""
    weight, gradient = torch.randn(2, 12, 30, generator=torch.Generator().manual_seed(0))
    gradient[:, 10:] *= 5.0

    def ratio(*pieces: slice) -> float:
        parts = [
            Part("fc7", False, nn.Parameter(weight[:, piece].clone()), weight.shape, None, (piece,))
            for piece in pieces
        ]
        optimizer = build_optimizer(parts, OptimizerConfig(lr=0.01, weight_decay=0.0))
        for part, piece in zip(parts, pieces, strict=True):
            part.parameter.grad = gradient[:, piece].clone()
        optimizer.step()
        return update_ratios(optimizer)["fc7"]

    assert ratio(slice(0, 10), slice(10, 30)) == pytest.approx(ratio(slice(0, 30)), rel=1e-5)


def test_signal_is_the_part_that_depends_on_the_image() -> None:
    logits = torch.tensor([[1.0, -1.0], [3.0, -1.0]])
    expected = (((2.0**0.5) ** 2 + 0.0) / 2) ** 0.5 / ((1 + 1 + 9 + 1) / 4) ** 0.5
    assert signal({"fc8": logits}) == pytest.approx(expected)
    assert signal({"fc8": logits[:1]}) == 1.0
    assert signal({"fc8": torch.ones(4, 2)}) == 0.0


def test_weight_sizes_are_those_of_every_layer_without_biases() -> None:
    model = AlexNet(resolve(ModelConfig(width=1 / 32, image_size=48)), num_classes=3)
    with torch.no_grad():
        model.get_submodule("fc8").weight.copy_(torch.full_like(model.fc8.weight, -3.0))
    sizes = weight_sizes(model)
    assert list(sizes) == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    assert sizes["fc8"] == pytest.approx(3.0)
    for name, size in sizes.items():
        weights = model.get_submodule(name).weight.detach().double().numpy()
        assert size == pytest.approx(np.sqrt(np.mean(weights**2)), rel=1e-5), name


def test_output_sizes_are_those_of_layers_with_weights() -> None:
    stages = {"conv1": torch.tensor([[3.0, -4.0]]), "relu1": torch.tensor([[3.0, 0.0]])}
    assert output_sizes(stages, ["conv1"]) == {"conv1": pytest.approx(12.5**0.5)}


def test_dead_channels_answer_zero_everywhere() -> None:
    output = torch.zeros(2, 4, 3, 3)
    output[1, 0, 2, 2] = 1.0
    output[0, 1] = 2.0
    stages = {"relu1": output, "relu6": torch.tensor([[0.0, 1.0], [0.0, 0.0]]), "fc8": output}
    assert dead_channels(stages) == {"relu1": 0.5, "relu6": 0.5}


def test_quiet_activations_have_no_dropout_and_leave_the_mode() -> None:
    model = AlexNet(resolve(ModelConfig(width=1 / 32, image_size=48)), num_classes=3).train()
    images = torch.rand(2, 3, 48, 48) * 255
    first, second = (quiet_activations(model, images)["fc8"] for _ in range(2))
    assert torch.equal(first, second)
    assert model.training


def test_mixing_is_one_for_random_batches_and_small_for_sorted_ones() -> None:
    rng = np.random.default_rng(0)
    even = np.full(10, 0.1)
    random = [mixing(rng.integers(0, 10, 32), even) for _ in range(200)]
    assert np.mean(random) == pytest.approx(1.0, abs=0.02)
    assert mixing([3] * 32, even) < 0.12
    assert mixing([3], even) == pytest.approx(1.0)
