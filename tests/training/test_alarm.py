"""A run that cannot learn is stopped with the right cause; one that can is left alone."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from alexnet.config import ModelConfig
from alexnet.draws import sample_keys
from alexnet.errors import UserError
from alexnet.model.changes import resolve
from alexnet.model.network import AlexNet
from alexnet.training.alarm import Alarm, Sign, spread, unchanging_units
from alexnet.training.checks import entropy

CHANCE = math.log(10)
EVEN = np.full(10, 0.1)


def network() -> AlexNet:
    """A narrow network with weights through which the image reaches every layer."""
    model = AlexNet(resolve(ModelConfig(width=1 / 8, image_size=64)), num_classes=10)
    with torch.no_grad():
        for layer in (model.conv2, model.conv3, model.conv4, model.conv5, model.fc6, model.fc7):
            layer.weight.normal_(
                0, (2 / layer.weight[0].numel()) ** 0.5, generator=torch.Generator().manual_seed(0)
            )
    return model.train()


def pictures(count: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator) * 255
    return torch.nn.functional.interpolate(coarse, (64, 64), mode="bilinear")


@torch.no_grad()
def sign_of(model: AlexNet, batch: Tensor, /, **changes: object) -> Sign:
    """What the loop knows at the middle of a run of a thousand images: the loss of guessing."""
    keys = torch.from_numpy(sample_keys(0, 0, np.arange(len(batch))))
    values = {
        "step": 100,
        "epochs": 1.0,
        "images": 1000,
        "loss": CHANCE,
        "spread": float(spread(model(batch, keys))),  # in training mode, as in the loop
        "lr": 0.01,
        "warming_up": False,
        "rows": len(batch),
    }
    return Sign(**{**values, **changes})  # type: ignore[arg-type]


def complaint(alarm: Alarm, sign: Sign, model: AlexNet, images: Tensor) -> str:
    with pytest.raises(UserError) as caught:
        alarm.check(sign, lambda: model, images)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_healthy_network_is_left_alone() -> None:
    model, images = network(), pictures()
    alarm = Alarm(EVEN)
    alarm.check(sign_of(model, images, step=1, epochs=0.01), lambda: model, images)
    alarm.check(sign_of(model, images, step=299, epochs=1.9), lambda: model, images)
    alarm.check(sign_of(model, images, step=10_000, epochs=1.5), lambda: model, images)
    alarm.check(
        sign_of(model, images, loss=0.5 * CHANCE, step=10_000, epochs=50), lambda: model, images
    )
    assert model.training


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_at_once(loss: float) -> None:
    model, images = network(), pictures()
    said = complaint(Alarm(EVEN), sign_of(model, images, loss=loss, step=3), model, images)
    assert "not a number" in said
    assert "--lr 0.001" in said


def test_a_loss_that_is_no_number_stops_in_the_warm_up_too() -> None:
    model, images = network(), pictures()
    sign = sign_of(model, images, loss=math.nan, warming_up=True)
    assert "not a number" in complaint(Alarm(EVEN), sign, model, images)


@pytest.mark.parametrize("layers", [
    ["fc7"],
    ["fc6"],
    ["conv5"],
    ["conv3"],
    ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"],
])  # fmt: skip
def test_dead_relus_are_named_and_the_rate_is_too_high(layers: list[str]) -> None:
    """Whichever layer died: the noise of dropout above it must not pass for an answer."""
    model, images = network(), pictures()
    with torch.no_grad():
        for name in layers:
            layer = model.get_submodule(name)
            assert isinstance(layer.bias, Tensor)
            layer.bias.fill_(-1e6)
    said = complaint(Alarm(EVEN), sign_of(model, images), model, images)
    assert f"relu{layers[0][-1]}" in said
    assert "100%" in said
    assert "too high" in said
    assert "--lr 0.001" in said
    assert f"{CHANCE:.3f}" in said
    assert model.training


def test_collapse_is_not_judged_in_the_first_steps() -> None:
    model, images = network(), pictures()
    with torch.no_grad():
        model.fc7.bias.fill_(-1e6)
    Alarm(EVEN).check(sign_of(model, images, step=5), lambda: model, images)


def test_copies_that_fill_up_a_slice_are_no_dead_units() -> None:
    """A process whose last pass held no image has nothing to look at, and asks like the others."""
    model, images = network(), pictures()
    asked = []

    def whole() -> AlexNet:
        asked.append(True)
        return model

    Alarm(EVEN).check(sign_of(model, images), whole, images[:0])
    assert asked
    assert spread(images[:0].flatten(1)).item() == 1.0
    copies = images[:1].expand(16, -1, -1, -1)
    assert "dead" in complaint(Alarm(EVEN), sign_of(model, images), model, copies)


def test_a_loss_that_stays_at_guessing_ends_with_the_patience() -> None:
    model, images = network(), pictures()
    said = complaint(Alarm(EVEN), sign_of(model, images, step=300, epochs=2.0), model, images)
    assert "has not left ln(10) = 2.303" in said
    assert "too low" in said
    assert "--lr 0.1" in said
    assert "train.alarm=false" in said
    slow = sign_of(model, images, step=4000, epochs=0.4, images=500_000)
    assert "has not left" in complaint(Alarm(EVEN), slow, model, images)


def test_a_run_that_has_left_guessing_may_come_back() -> None:
    model, images = network(), pictures()
    alarm = Alarm(EVEN)
    alarm.check(sign_of(model, images, loss=0.9 * CHANCE), lambda: model, images)
    alarm.check(sign_of(model, images, step=5000, epochs=20), lambda: model, images)
    assert alarm.left_chance
    later = Alarm(EVEN, alarm.left_chance)  # in another process
    later.check(sign_of(model, images, step=5000, epochs=20), lambda: model, images)


def test_a_run_that_goes_on_has_no_more_patience_than_one_that_was_not_stopped() -> None:
    model, images = network(), pictures()
    alarm = Alarm(EVEN)
    alarm.check(sign_of(model, images, step=290, epochs=1.9), lambda: model, images)
    sign = sign_of(model, images, step=300, epochs=2.0)
    assert "has not left" in complaint(Alarm(EVEN, alarm.left_chance), sign, model, images)


def test_a_dead_network_that_answers_uneven_frequencies_is_seen() -> None:
    """It is below ln(C), which a network of living units may be as well."""
    model, images = network(), pictures()
    shares = np.array([0.82, *[0.02] * 9])
    loss = entropy(shares)
    assert loss < 0.5 * CHANCE
    Alarm(shares).check(
        sign_of(model, images, loss=loss, step=900, epochs=9), lambda: model, images
    )
    with torch.no_grad():
        model.fc7.bias.fill_(-1e6)
    assert "dead" in complaint(Alarm(shares), sign_of(model, images, loss=loss), model, images)


def test_spread_is_that_over_images() -> None:
    logits = torch.tensor([[1.0, 5.0, 2.0], [3.0, 5.0, 2.0]])
    assert spread(logits).item() == pytest.approx((2**0.5 + 0 + 0) / 3)
    assert spread(logits[:1]).item() == 1.0  # one image says nothing
    assert spread(logits.bfloat16()).item() == pytest.approx(2**0.5 / 3)


def test_unchanging_units_are_counted_by_layer() -> None:
    model, images = network(), pictures()
    before = unchanging_units(model, images)
    assert list(before) == [f"relu{number}" for number in range(1, 8)]
    assert all(share < 0.6 for share in before.values())
    half = len(model.fc6.bias) // 2
    with torch.no_grad():
        model.fc6.bias[:half] = -1e6
        assert model.conv3.bias is not None
        model.conv3.bias.fill_(-1e6)
    after = unchanging_units(model, images)
    assert after["relu3"] == 1.0
    assert after["relu6"] >= 0.5
    assert after["relu2"] == before["relu2"]
    assert model.training
