"""A run that begins with another one's weights."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alexnet.config import Config, OptimizerConfig, override
from alexnet.defaults import DataFacts
from alexnet.errors import UserError
from alexnet.model.changes import resized
from alexnet.model.cifar import CifarNet
from alexnet.model.network import AlexNet
from alexnet.model.variants import VARIANTS
from alexnet.model.weights import load, save_weights
from alexnet.recipes import finetune
from alexnet.training.choices import resolve_config
from alexnet.training.finetune import (
    begin_with,
    fitted,
    freeze,
    network_of,
    start_weights,
    with_layer_rates,
)
from alexnet.training.run import train

_TINY = (
    *("model.width=0.03125", "model.image_size=64", "data.size=72", "train.alarm=false"),
    *("train.batch_size=16", "train.device=cpu", "optimizer.lr=0.002", "train.epochs=1"),
)


def network(classes: tuple[str, ...], seed: int) -> AlexNet:
    model = AlexNet(replace(VARIANTS["paper"], image_size=64, hidden=16), len(classes), seed=seed)
    model.classes = classes
    return model


def test_the_head_goes_by_class_name(tmp_path: Path) -> None:
    base = network(("cat", "dog", "owl"), 1)
    base.mean.fill_(77.0)
    save_weights(tmp_path / "weights.safetensors", base)
    new = network(("dog", "emu", "cat"), 2)
    untouched = new.fc8.weight[1].clone()
    shared = begin_with(new, tmp_path)
    assert shared == ["dog", "cat"]
    assert torch.equal(new.fc8.weight[0], base.fc8.weight[1])
    assert torch.equal(new.fc8.weight[2], base.fc8.weight[0])
    assert torch.equal(new.fc8.bias[2], base.fc8.bias[0])
    assert torch.equal(new.fc8.weight[1], untouched)
    assert torch.equal(new.conv3.weight, base.conv3.weight)
    assert torch.equal(new.mean, base.mean)


def test_the_head_of_a_net_for_small_images_goes_by_class_name_too(tmp_path: Path) -> None:
    base, new = (CifarNet("cifar-18", 3, seed=seed) for seed in (1, 2))
    base.classes, new.classes = ("cat", "dog", "owl"), ("dog", "emu", "fox")
    save_weights(tmp_path / "weights.safetensors", base)
    before = new.get_parameter("fc10.weight").clone()
    assert begin_with(new, tmp_path) == ["dog"]
    after = new.get_parameter("fc10.weight")
    assert torch.equal(after[0], base.get_parameter("fc10.weight")[1])
    assert torch.equal(after[1:], before[1:])
    path = str(tmp_path / "weights.safetensors")
    config = fitted(finetune(DataFacts(1000, 10, mirror=True)), path)
    assert config.model.variant == "cifar-18"
    assert config.optimizer.layer_rates == (("fc10", 1, 10.0),)


def test_weights_of_another_dropout_may_be_begun_with(tmp_path: Path) -> None:
    """As those of most runs are: `default` chooses it by the number of images."""
    base = AlexNet(replace(resized(VARIANTS["paper"], image_size=64), dropout=0.3), 2)
    path = tmp_path / "weights.safetensors"
    save_weights(path, base)
    assert network_of(path)[0].image_size == 64
    save_weights(path, network(("a", "b"), 1))
    with pytest.raises(UserError, match="holds a changed paper"):
        network_of(path)


def test_another_network_is_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "weights.safetensors", network(("a", "b"), 1))
    wider = AlexNet(replace(VARIANTS["paper"], image_size=64, hidden=32), 2)
    with pytest.raises(UserError, match="first difference: fc6"):
        begin_with(wider, tmp_path)
    with pytest.raises(UserError, match="no run or weights file"):
        begin_with(wider, tmp_path / "nowhere")


def test_a_network_that_diverged_is_refused(tmp_path: Path) -> None:
    """Or the rate of the new run would be blamed for it."""
    base = network(("cat", "dog"), 1)
    with torch.no_grad():
        base.fc7.weight[3, 4] = torch.nan
    save_weights(tmp_path / "weights.safetensors", base)
    with pytest.raises(UserError, match="it diverged; name another run"):
        begin_with(network(("cat", "dog"), 2), tmp_path)


def test_frozen_means_from_the_first_epoch_to_the_last() -> None:
    model = network(("a", "b"), 0)
    rules = (("conv1", 1, 0.0), ("conv2", 3, 0.0), ("conv3", 1, 0.0), ("conv3", 2, 1.0))
    config = Config(optimizer=OptimizerConfig(layer_rates=rules))
    assert freeze(model, config) == ["conv1"]
    assert not model.conv1.weight.requires_grad
    assert model.conv2.weight.requires_grad


def test_what_the_first_run_was_trained_on_is_not_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = AlexNet(resized(VARIANTS["paper"], 1 / 32, 64), 10)
    base.training_data = {
        "name": "digits", "kind": "digits", "validation_fraction": 0.1, "validation_images": 169
    }  # fmt: skip
    path = str(tmp_path / "weights.safetensors")
    small = AlexNet(replace(VARIANTS["paper"], image_size=64), 10)
    small.training_data = base.training_data
    save_weights(Path(path), small)
    assert resolve_config("digits", None, [], None, path).data.validation_fraction == 0.1
    assert f"validation_fraction 0.1: what {path} held out" in capsys.readouterr().err
    asked = resolve_config("digits", None, ["data.validation_fraction=0.2"], None, path)
    assert asked.data.validation_fraction == 0.2
    small.training_data = base.training_data | {
        "validation_fraction": 0.2, "validation_images": 334
    }  # fmt: skip
    start_weights(small, asked)
    assert "the error will be too good to be true" in capsys.readouterr().err
    small.training_data = base.training_data
    start_weights(small, asked)
    assert "too good" not in capsys.readouterr().err


def test_a_configuration_keeps_its_network_or_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, AlexNet(replace(VARIANTS["paper"], image_size=64), 10))
    own = override(Config(), ["model.image_size=64", "model.dropout=0.1", "data.size=96"])
    config = resolve_config("digits", None, [], own, str(path))
    assert (config.model, config.data.size, config.train.init) == (own.model, 96, str(path))
    with pytest.raises(UserError, match="--config has another network"):
        resolve_config("digits", None, [], override(own, ["model.activation=tanh"]), str(path))


def test_how_a_run_to_begin_with_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "weights.safetensors")
    save_weights(Path(path), AlexNet(replace(VARIANTS["paper"], image_size=64), 10))
    named = resolve_config("digits", None, [f"train.init={path}"])
    assert named == resolve_config("digits", None, [], None, path)
    for recipe, assignments, init, message in (
        ("finetune", [], None, "name it: --init RUN"),
        (None, [f"train.init={path}"], path, "give one of them"),
        (None, ["data.mean=channel"], path, "leave out data.mean"),
        ("cifar-18", [], path, "unknown layer of paper 'fc10'"),
    ):
        with pytest.raises(UserError, match=message):
            resolve_config("digits", recipe, assignments, None, init)


def test_rates_of_layers_win_over_those_that_are_there() -> None:
    config = Config(optimizer=OptimizerConfig(layer_rates=(("fc8", 1, 10.0), ("conv1", 5, 0.1))))
    changed = with_layer_rates(config, ("conv1,conv2",), ("fc8=3",))
    assert changed.optimizer.layer_rates == (
        ("conv1", 1, 0.0),
        ("conv2", 1, 0.0),
        ("fc8", 1, 3.0),
    )
    with pytest.raises(UserError, match="LAYER=FACTOR"):
        with_layer_rates(config, (), ("fc8",))
    for stranger in ("conv9", "local3"):  # which another network has
        with pytest.raises(UserError, match=rf"unknown layer of paper '{stranger}'"):
            with_layer_rates(config, (stranger,), ())
    with pytest.raises(UserError, match="fc8 is named twice"):
        with_layer_rates(config, ("fc8",), ("fc8=0.5",))
    with pytest.raises(UserError, match="unknown layer of paper 'local3'"):
        resolve_config("digits", None, ['optimizer.layer_rates=[["local3", 1, 0.5]]'])
    with pytest.raises(UserError, match="leave one to learn"):
        with_layer_rates(config, (",".join(VARIANTS["paper"].weight_layers),), ())


def test_a_network_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    """Though its weights would fit; what only training sees may differ."""
    base = network(("cat", "dog"), 1)
    save_weights(tmp_path / "weights.safetensors", base)
    other = AlexNet(replace(base.variant, activation="tanh"), 2)
    with pytest.raises(UserError, match="first difference: activation"):
        begin_with(other, tmp_path)
    begin_with(AlexNet(replace(base.variant, dropout=0.3), 2), tmp_path)


def test_a_run_from_another_run(
    image_folder: Path, tmp_path: Path, new_image_folder: Callable[..., Path]
) -> None:
    base = Path(train(str(image_folder), out=tmp_path / "base", assignments=_TINY)["run"])
    assert network_of(base)[1] == 72
    other = new_image_folder(classes=("cyan", "red"), count=12)
    config = resolve_config(
        str(other), None, ["train.epochs=1", "train.alarm=false"], None, str(base)
    )
    assert config.recipe == "finetune"
    assert config.model.width == 0.03125
    scratch = 0.01 * math.sqrt(24 / 128)  # there are no more images than 24 in a batch
    assert config.optimizer.lr == pytest.approx(scratch / 10)
    assert config.optimizer.layer_rates == (("fc8", 1, 10.0),)
    config = with_layer_rates(config, ("conv1,conv2,conv3,conv4,conv5",), ())
    run = Path(train(out=tmp_path / "run", config=config)["run"])
    before, after = load(base), load(run)
    assert after.classes == ("cyan", "red")
    for name in ("conv1", "conv3", "conv5"):
        weights = [model.get_submodule(name).weight for model in (before, after)]
        assert torch.equal(*weights)
    assert not torch.equal(before.fc6.weight, after.fc6.weight)
    assert torch.equal(before.mean, after.mean)
    assert json.loads((run / "config.json").read_text())["train"]["init"] == str(base)
