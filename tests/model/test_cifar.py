"""The authors' CIFAR-10 nets against their layer files, and the ImageNet net cut into columns."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.config import ModelConfig
from alexnet.errors import UserError
from alexnet.model.build import build_network
from alexnet.model.catalog import ALL_VARIANTS, layer_table, resolve
from alexnet.model.cifar import CifarNet
from alexnet.model.cifar_variants import CIFAR_VARIANTS
from alexnet.model.describe import describe, difference_lines
from alexnet.model.network import AlexNet
from alexnet.model.variants import VARIANTS
from alexnet.model.weights import load, save_weights

# Appendix A of the reference: output and parameters of every layer with weights.
TABLES = {
    "cifar-19": {
        "conv1": ((32, 32, 32), 2_432),
        "conv2": ((32, 16, 16), 25_632),
        "conv3": ((64, 8, 8), 51_264),
        "fc10": ((10,), 10_250),
    },
    "cifar-13": {
        "conv1": ((64, 24, 24), 4_864),
        "conv2": ((64, 12, 12), 102_464),
        "local3": ((32, 6, 6), 664_704),
        "local4": ((32, 6, 6), 332_928),
        "fc10": ((10,), 11_530),
    },
    "cifar-11": {
        "conv1": ((64, 24, 24), 4_864),
        "conv2": ((64, 12, 12), 102_464),
        "local3": ((64, 6, 6), 1_329_408),
        "local4": ((32, 6, 6), 664_704),
        "fc10": ((10,), 11_530),
    },
}
TABLES["cifar-18"] = TABLES["cifar-19"]
TOTALS = {"cifar-18": 89_578, "cifar-19": 89_578, "cifar-13": 1_116_490, "cifar-11": 2_112_970}
STDS = {
    "cifar-18": (1e-4, 0.01, 0.01, 0.01),
    "cifar-19": (1e-4, 0.01, 0.01, 0.01),
    "cifar-13": (1e-4, 0.01, 0.04, 0.04, 0.01),
    "cifar-11": (1e-4, 0.01, 0.04, 0.04, 0.01),
}


def pictures(count: int, side: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def awake(name: str) -> CifarNet:
    """A net in double precision whose weights are large enough for every stage to matter."""
    model = CifarNet(name).double()
    for index, parameter in enumerate(model.parameters()):
        generator = torch.Generator().manual_seed(index)
        scale = 0.02 if parameter.ndim > 1 else 0.1
        nn.init.normal_(parameter, 0.0, scale, generator=generator)
    return model.eval()


@pytest.mark.parametrize("name", CIFAR_VARIANTS)
def test_layers_of_the_table_and_of_the_network(name: str) -> None:
    variant = CIFAR_VARIANTS[name]
    table = {layer.name: layer for layer in layer_table(variant, 10)}
    rows = {n: (layer.output, layer.parameters) for n, layer in table.items() if layer.parameters}
    assert rows == TABLES[name]
    assert sum(layer.parameters for layer in table.values()) == TOTALS[name]
    model = CifarNet(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == TOTALS[name]
    stages = model.activations(pictures(2, variant.image_size))
    assert {n: tuple(x.shape[1:]) for n, x in stages.items()} == {
        n: layer.output for n, layer in table.items()
    }


@pytest.mark.parametrize("name", CIFAR_VARIANTS)
def test_initial_weights(name: str) -> None:
    model = CifarNet(name, seed=1)
    for layer, std in zip(model.variant.weight_layers, STDS[name], strict=True):
        module = model.get_submodule(layer)
        weight = module.get_parameter("weight")
        # Four standard errors of a standard deviation.
        assert float(weight.detach().std()) == pytest.approx(
            std, rel=4 / (2 * weight.numel()) ** 0.5
        )
        assert not module.get_parameter("bias").any()
    again = CifarNet(name, seed=1).state_dict()
    assert all(torch.equal(again[key], value) for key, value in model.state_dict().items())


def map_norm(x: Tensor) -> Tensor:
    """rnorm of layers-18pct.cfg: 3x3, scale 5e-5 / 9, power 0.75, zero outside."""
    total = F.avg_pool2d(x * x, 3, 1, 1, count_include_pad=True) * 9
    return x / (1 + 5e-5 / 9 * total) ** 0.75


def test_the_net_of_18_percent_is_its_plain_restatement() -> None:
    model = awake("cifar-18")
    images = pictures(3, 32)
    c = {name: model.get_submodule(name) for name in ("conv1", "conv2", "conv3", "fc10")}
    x = images.double() - model.mean
    x = F.relu(F.conv2d(x, c["conv1"].weight, c["conv1"].bias, padding=2))
    x = map_norm(F.max_pool2d(x, 3, 2, 0, 1, True))
    x = F.relu(F.conv2d(x, c["conv2"].weight, c["conv2"].bias, padding=2))
    x = map_norm(F.avg_pool2d(x, 3, 2, ceil_mode=True))
    x = F.relu(F.conv2d(x, c["conv3"].weight, c["conv3"].bias, padding=2))
    x = F.avg_pool2d(x, 3, 2, ceil_mode=True)
    expected = F.linear(x.flatten(1), c["fc10"].weight, c["fc10"].bias)
    torch.testing.assert_close(model(images), expected, rtol=1e-10, atol=1e-10)


def test_the_net_of_11_percent_is_its_plain_restatement() -> None:
    model = awake("cifar-11")
    images = pictures(3, 24)
    m = {name: model.get_submodule(name) for name in model.variant.weight_layers}
    x = images.double() - model.mean
    x = F.relu(F.conv2d(x, m["conv1"].weight, m["conv1"].bias, padding=2))
    x = F.local_response_norm(F.max_pool2d(x, 3, 2, 0, 1, True), 9, 1e-3, 0.75, 1.0)
    x = F.relu(F.conv2d(x, m["conv2"].weight, m["conv2"].bias, padding=2))
    x = F.max_pool2d(F.local_response_norm(x, 9, 1e-3, 0.75, 1.0), 3, 2, 0, 1, True)
    for name in ("local3", "local4"):
        patches = F.unfold(x, 3, padding=1)  # (N, C * 9, 36)
        y = torch.einsum("ncl,lck->nkl", patches, m[name].weight) + m[name].bias.t()
        x = F.relu(y.view(3, -1, 6, 6))
    expected = F.linear(x.flatten(1), m["fc10"].weight, m["fc10"].bias)
    torch.testing.assert_close(model(images), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["cifar-18", "cifar-11"])
def test_weights_go_through_a_file(name: str, tmp_path: Path) -> None:
    model = CifarNet(name, seed=3)
    model.classes = tuple("abcdefghij")
    save_weights(tmp_path / "weights.safetensors", model)
    again = load(tmp_path / "weights.safetensors")
    assert isinstance(again, CifarNet)
    assert (again.variant, again.classes) == (model.variant, model.classes)
    images = pictures(2, model.variant.image_size)
    assert torch.equal(again(images), model(images))


def test_changes_of_a_configuration() -> None:
    off = resolve(ModelConfig(variant="cifar-18", normalization=False))
    assert off.order == CIFAR_VARIANTS["cifar-19"].order
    narrow = resolve(ModelConfig(variant="cifar-11", width=0.25, activation="tanh"))
    model = build_network(narrow, 10)
    stages = model.activations(pictures(1, 24))
    assert [stages[name].shape[1] for name in narrow.weight_layers] == [16, 16, 16, 8, 10]
    assert isinstance(model.get_submodule("relu3"), nn.Tanh)
    for change, message in (
        ({"columns": 2}, "no model.columns"),
        ({"dropout": 0.5}, "no model.dropout"),
        ({"pooling": "non-overlapping"}, "no model.pooling"),
    ):
        with pytest.raises(UserError, match=message):
            resolve(ModelConfig(variant="cifar-18", **change))
    with pytest.raises(UserError, match="no normalization"):
        resolve(ModelConfig(variant="cifar-19", normalization=True))
    with pytest.raises(UserError, match="cifar-18"):
        resolve(ModelConfig(variant="cifar-17"))
    assert list(ALL_VARIANTS) == [*VARIANTS, *CIFAR_VARIANTS]


def test_info_of_a_cifar_net_has_ten_classes() -> None:
    assert describe("cifar-11").parameters == 2_112_970
    assert describe("paper").parameters == 60_965_224
    lines = difference_lines(describe("cifar-13"), describe("cifar-11"))
    assert any(line.startswith("order") for line in lines)


def test_a_narrow_net_is_as_loud_as_the_full_one() -> None:
    narrow = resolve(ModelConfig(width=0.25))
    assert narrow.weight_std == (0.01, 0.02, 0.06, 0.06, 0.06, 0.02, 0.02, 0.02)
    assert resolve(ModelConfig(variant="one-tower", width=0.25)).weight_std is None


def small(name: str) -> AlexNet:
    variant = replace(
        VARIANTS[name], widths=(8, 12, 16, 16, 8), hidden=6, image_size=64,
        fc6_hidden=10 if VARIANTS[name].fc6_hidden else None,
    )  # fmt: skip
    return AlexNet(variant, num_classes=4).eval()


@pytest.mark.parametrize("name", ["no-exchange", "no-exchange-150"])
def test_without_exchange_a_column_never_sees_the_other(name: str) -> None:
    """A change in column a's kernels of conv1 reaches no unit of column b before fc8."""
    model = small(name)
    images = pictures(2, 64)
    before = model.activations(images)
    with torch.no_grad():
        model.conv1.weight[:4] += 0.1
    after = model.activations(images)
    for stage, old in before.items():
        if stage == "fc8":
            assert not torch.equal(old, after[stage])
            continue
        a, b = ((old.chunk(2, 1)[i], after[stage].chunk(2, 1)[i]) for i in (0, 1))
        assert torch.equal(*b), stage
        assert stage == "dropout7" or not torch.equal(*a), stage


def test_columns_connected_are_two_layers_of_half_the_units() -> None:
    model = small("no-exchange-150")
    x = torch.randn(3, 8, 1, 1, generator=torch.Generator().manual_seed(0))
    inputs = model.fc6.in_features
    halves = [
        F.linear(x.flatten(1)[:, i * inputs : (i + 1) * inputs], w, b)
        for i, (w, b) in enumerate(
            zip(model.fc6.weight.chunk(2), model.fc6.bias.chunk(2), strict=True)
        )
    ]
    torch.testing.assert_close(model.fc6(x), torch.cat(halves, 1))
