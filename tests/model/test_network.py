"""The network, stage by stage, against plain restatements of the paper and the authors' code."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.config import ModelConfig
from alexnet.draws import sample_keys
from alexnet.errors import UserError
from alexnet.model.changes import resolve
from alexnet.model.layers import layer_table, smallest_image
from alexnet.model.network import IMAGENET_MEAN, AlexNet
from alexnet.model.variants import VARIANTS, WEIGHT_LAYERS
from alexnet.model.weights import load, save_weights


def tiny(variant: str = "paper", classes: int = 10, seed: int = 0, **changes: object) -> AlexNet:
    """The network at an eighth of its width or less: every stage is there."""
    changes = {"width": 1 / 16, **changes}
    resolved = resolve(ModelConfig(variant, **changes))  # type: ignore[arg-type]
    return AlexNet(resolved, classes, seed=seed).eval()


def pictures(count: int, side: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


def keys(count: int, step: int = 0) -> Tensor:
    return torch.from_numpy(sample_keys(0, step, np.arange(count)))


def bias_of(model: AlexNet, layer: str) -> Tensor:
    return model.get_parameter(f"{layer}.bias").detach()


def randomise(model: AlexNet, seed: int = 0) -> AlexNet:
    """Weights with which every stage matters: signals near 1 or, before a norm, near 50."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in WEIGHT_LAYERS:
            layer = model.get_submodule(name)
            assert isinstance(layer.weight, Tensor)
            assert isinstance(layer.bias, Tensor)
            scale = 1.0 if name == "conv1" else 1.4
            layer.weight.normal_(0, scale * layer.weight[0].numel() ** -0.5, generator=generator)
            layer.bias.normal_(0, 0.1, generator=generator)
        model.mean.uniform_(90, 140, generator=generator)
    return model


# --- the arithmetic of layers is that of the modules -----------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_layer_table_is_that_of_the_modules(name: str) -> None:
    model = tiny(name)
    side = model.variant.image_size
    outputs = model.activations(pictures(1, side))
    table = layer_table(model.variant, 10)
    assert [layer.name for layer in table] == list(outputs)
    for layer in table:
        assert tuple(outputs[layer.name].shape[1:]) == layer.output, layer.name
        module = model.get_submodule(layer.name)
        assert sum(p.numel() for p in module.parameters()) == layer.parameters, layer.name
        if layer.parameters:
            assert isinstance(module.weight, Tensor)
            places = outputs[layer.name][0, 0].numel() if len(layer.output) == 3 else 1
            assert module.weight.numel() * places == layer.macs, layer.name


@pytest.mark.parametrize("change", [
    {}, {"pooling": "non-overlapping"}, {"variant": "caffe"}, {"variant": "one-tower"},
])  # fmt: skip
def test_layer_table_is_that_of_the_modules_at_every_size(change: dict[str, str]) -> None:
    variant = resolve(ModelConfig(width=1 / 64, **change))  # type: ignore[arg-type]
    smallest = smallest_image(variant)
    for side in (*range(smallest, smallest + 24), 100, 256):
        model = AlexNet(variant, 3, image_size=side)
        shapes = [tuple(y.shape[1:]) for y in model.eval().activations(pictures(1, side)).values()]
        assert shapes == [layer.output for layer in layer_table(model.variant, 3)], side


def test_full_size_network_has_60_965_224_parameters(paper_network: AlexNet) -> None:
    counts = [
        sum(parameter.numel() for parameter in paper_network.get_submodule(name).parameters())
        for name in WEIGHT_LAYERS
    ]
    assert counts == [
        *(34_944, 307_456, 885_120, 663_936, 442_624),
        *(37_752_832, 16_781_312, 4_097_000),
    ]
    assert sum(counts) == sum(p.numel() for p in paper_network.parameters()) == 60_965_224
    assert paper_network(pictures(1, 224)).shape == (1, 1000)


@pytest.mark.parametrize("name", VARIANTS)
def test_no_batch_normalisation_and_no_adaptive_pooling(name: str) -> None:
    kinds = {type(module).__name__ for module in tiny(name).modules()}
    assert not [kind for kind in kinds if "Batch" in kind or "Adaptive" in kind]


# --- conv1 and its border --------------------------------------------------------------------


def test_conv1_is_brute_force_with_zeros_beyond_the_right_and_bottom_edge() -> None:
    model = randomise(tiny(width=1 / 48))
    image = pictures(1, 224)
    found = model.activations(image)["conv1"][0].detach()
    pixels = image[0].double() - model.mean.double()
    weight, bias = model.conv1.weight.detach().double(), bias_of(model, "conv1").double()
    expected = torch.empty(len(weight), 55, 55, dtype=torch.float64)
    for row in range(55):
        for column in range(55):
            window = pixels[:, 4 * row : 4 * row + 11, 4 * column : 4 * column + 11]
            height, width = window.shape[1:]  # 8 of 11 at the far edge: three pixels hang over
            inside = weight[:, :, :height, :width]
            expected[:, row, column] = (inside * window).sum((1, 2, 3)) + bias
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("pixel", "output", "weight"), [
    ((0, 0), (0, 0), (0, 0)),  # no padding at the left and top edge
    ((223, 223), (54, 54), (7, 7)),  # windows begin at 216: three pixels hang over
    ((0, 223), (0, 54), (0, 7)),
    ((3, 0), (0, 0), (3, 0)),
])  # fmt: skip
def test_a_corner_pixel_excites_one_output(
    pixel: tuple[int, int], output: tuple[int, int], weight: tuple[int, int]
) -> None:
    model = randomise(tiny(width=1 / 48))
    image = model.mean.clone()[None]
    image[0, 1, *pixel] += 100.0
    with torch.no_grad():
        difference = model.activations(image)["conv1"] - bias_of(model, "conv1")[:, None, None]
        expected = torch.zeros_like(difference)
        expected[0, :, *output] = 100.0 * model.conv1.weight[:, 1, *weight]
    torch.testing.assert_close(difference, expected, rtol=1e-5, atol=1e-4)


def test_beyond_the_edge_lies_the_mean_pixel() -> None:
    """The zeros are put there after the mean is subtracted."""
    model = randomise(tiny(width=1 / 48))
    flat = model.activations(model.mean[None])["conv1"]
    expected = bias_of(model, "conv1")[:, None, None].expand_as(flat[0])
    torch.testing.assert_close(flat[0], expected)


# --- the stages in order ---------------------------------------------------------------------

STAGES = {
    "paper": "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 "
    "conv5 relu5 pool5 fc6 relu6 dropout6 fc7 relu7 dropout7 fc8",
    "original": "conv1 norm1 pool1 relu1 conv2 relu2 norm2 mapnorm2 pool2 conv3 relu3 conv4 relu4 "
    "conv5 pool5 relu5 fc6 relu6 dropout6 fc7 relu7 dropout7 fc8",
    "caffenet": "conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2 conv3 relu3 conv4 relu4 "
    "conv5 relu5 pool5 fc6 relu6 dropout6 fc7 relu7 dropout7 fc8",
    "one-tower": "conv1 relu1 pool1 conv2 relu2 pool2 conv3 relu3 conv4 relu4 "
    "conv5 relu5 pool5 dropout6 fc6 relu6 dropout7 fc7 relu7 fc8",
}
STAGES |= dict.fromkeys(
    ("paper-literal", "half", "no-exchange", "no-exchange-150", "caffe"), STAGES["paper"]
)
STAGES |= {f"without-conv{n}": STAGES["paper"].replace(f"conv{n} relu{n} ", "") for n in (3, 4, 5)}


@pytest.mark.parametrize("name", VARIANTS)
def test_activations_name_every_stage_in_order(name: str) -> None:
    model = tiny(name)
    images = pictures(2, model.variant.image_size)
    stages = model.activations(images)
    assert " ".join(stages) == STAGES[name]
    assert torch.equal(stages["fc8"], model(images))
    assert list(dict(model.named_children())) == list(stages)
    assert not any(module._forward_hooks for module in model.modules())


def plain_norm(x: Tensor, columns: int, alpha: float, k: float) -> Tensor:
    """torch's own normalisation (alpha is divided by 5 there), each column by itself."""
    parts = [F.local_response_norm(c, 5, alpha, 0.75, k) for c in x.chunk(columns, 1)]
    return torch.cat(parts, 1)


def plain_conv(model: nn.Module, name: str, x: Tensor, padding: int, columns: int) -> Tensor:
    """Each column's convolution by itself, on its own maps."""
    layer = model.get_submodule(name)
    weights, biases = layer.weight.chunk(columns), layer.bias.chunk(columns)  # type: ignore[operator]
    parts = zip(x.chunk(columns, 1), weights, biases, strict=True)
    return torch.cat([F.conv2d(c, w, b, padding=padding) for c, w, b in parts], 1)


def plain_logits(name: str, model: AlexNet, images: Tensor) -> Tensor:
    """The variant written down line by line, in evaluation mode, from its source."""

    def linear(layer: str, x: Tensor) -> Tensor:
        module = model.get_submodule(layer)
        return F.linear(x, module.weight, module.bias)  # type: ignore[arg-type]

    x = images.float() - model.mean
    if model.variant.conv1_overhang:
        x = F.pad(x, (0, 3, 0, 3))
    x = F.conv2d(x, model.conv1.weight, model.conv1.bias, stride=4)
    if name == "paper":  # sections 3.3 to 3.5; alpha 1e-4 as in the equation
        x = F.max_pool2d(plain_norm(x.relu(), 2, 5e-4, 2.0), 3, 2)
        x = plain_conv(model, "conv2", x, 2, 2).relu()
        x = F.max_pool2d(plain_norm(x, 2, 5e-4, 2.0), 3, 2)
    elif name == "original":  # layers-145.cfg
        x = F.max_pool2d(plain_norm(x, 2, 1e-4, 2.0), 3, 2).relu()
        x = plain_norm(plain_conv(model, "conv2", x, 2, 2).relu(), 2, 1e-4, 2.0)
        x = x / (1 + 1e-3 * F.avg_pool2d(x * x, 5, 1, 2, count_include_pad=True)) ** 0.75
        x = F.max_pool2d(x, 3, 2)
    elif name == "caffe":
        x = F.max_pool2d(plain_norm(x.relu(), 1, 1e-4, 1.0), 3, 2)
        x = plain_conv(model, "conv2", x, 2, 2).relu()
        x = F.max_pool2d(plain_norm(x, 1, 1e-4, 1.0), 3, 2)
    elif name == "caffenet":
        x = plain_norm(F.max_pool2d(x.relu(), 3, 2), 1, 1e-4, 1.0)
        x = F.max_pool2d(plain_conv(model, "conv2", x, 2, 2).relu(), 3, 2)
        x = plain_norm(x, 1, 1e-4, 1.0)
    x = plain_conv(model, "conv3", x, 1, 1).relu()
    x = plain_conv(model, "conv4", x, 1, 2).relu()
    x = F.max_pool2d(plain_conv(model, "conv5", x, 1, 2).relu(), 3, 2).flatten(1)
    keep = 0.5 if name in ("paper", "original") else 1.0  # section 4.2: halved at test time
    x = linear("fc6", x).relu() * keep
    return linear("fc8", linear("fc7", x).relu() * keep)


@pytest.mark.parametrize("name", ["paper", "original", "caffe", "caffenet"])
def test_network_is_its_plain_restatement(name: str) -> None:
    model = randomise(tiny(name, width=1 / 8))
    images = pictures(3, model.variant.image_size)
    with torch.no_grad():
        found, expected = model(images), plain_logits(name, model, images)
    assert expected.std() > 0.1  # not a constant that anything would match
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_normalisation_sees_negative_values_in_original_and_never_in_paper() -> None:
    images = pictures(2, 224)
    for name, before in (("paper", "relu1"), ("original", "conv1")):
        model = tiny(name)
        with torch.no_grad():
            stages = model.activations(images)
            expected = plain_norm(stages[before], 2, 1e-4 if name == "original" else 5e-4, 2.0)
        torch.testing.assert_close(stages["norm1"], expected)
        assert bool((stages["norm1"] < 0).any()) == (name == "original")


def test_relu_before_or_after_pooling_is_the_same_function() -> None:
    x = pictures(2, 55).float() - 128
    assert torch.equal(F.max_pool2d(x, 3, 2).relu(), F.max_pool2d(x.relu(), 3, 2))


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_activation_is_a_choice(activation: str) -> None:
    model = tiny(activation=activation, image_size=64)
    stages = model.activations(pictures(2, 64))
    function: Callable[[Tensor], Tensor] = getattr(torch, activation)
    for number, before in ((1, "conv1"), (4, "conv4"), (7, "fc7")):
        assert torch.equal(stages[f"relu{number}"], function(stages[before]))


# --- columns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "padding"), [("conv2", 2), ("conv4", 1), ("conv5", 1)])
def test_columns_are_two_convolutions_of_half_the_maps(name: str, padding: int) -> None:
    model = randomise(tiny())
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Conv2d)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 2 * layer.weight.shape[1], 9, 9, generator=generator)
    torch.testing.assert_close(
        layer(x), plain_conv(model, name, x, padding, 2), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(("layer", "below", "crosses"), [
    ("conv2", "pool1", False), ("conv3", "pool2", True),
    ("conv4", "relu3", False), ("conv5", "relu4", False),
])  # fmt: skip
def test_which_layers_see_the_other_column(layer: str, below: str, crosses: bool) -> None:
    """Figure 2: an impulse in column b reaches column a through conv3 alone."""
    model = randomise(tiny(image_size=96))
    before = model.activations(pictures(1, 96))[below].detach()
    with_impulse = before.clone()
    channels = before.shape[1]
    with_impulse[:, channels // 2 :] += 100.0
    stage = model.get_submodule(layer)
    changed = (stage(before) != stage(with_impulse)).any(3).any(2)[0]
    half = len(changed) // 2
    assert changed[half:].all()
    assert bool(changed[:half].any()) == crosses


def test_norms_stop_at_the_boundary_between_the_columns(paper_network: AlexNet) -> None:
    for name, boundary in (("norm1", 48), ("norm2", 128)):
        norm = paper_network.get_submodule(name)
        x = torch.ones(1, 2 * boundary, 2, 2)
        with_impulse = x.clone()
        with_impulse[:, boundary] = 1000.0
        changed = (norm(x) != norm(with_impulse)).flatten(2).any(2)[0].nonzero().flatten()
        assert changed.tolist() == [boundary, boundary + 1, boundary + 2]


# --- pixels and mean -------------------------------------------------------------------------


def test_mean_is_subtracted_inside() -> None:
    model = randomise(tiny())
    images = pictures(2, 224)
    centred = F.conv2d(
        F.pad(images.float() - model.mean, (0, 3, 0, 3)), model.conv1.weight, model.conv1.bias, 4
    )
    torch.testing.assert_close(model.activations(images)["conv1"], centred, rtol=1e-4, atol=1e-3)
    with torch.no_grad():
        model.mean += 10.0
    moved = model.activations(images)["conv1"]
    brighter = model.activations(images.float() + 10.0)["conv1"]
    torch.testing.assert_close(brighter, centred, rtol=1e-4, atol=1e-3)
    assert not torch.allclose(moved, centred, rtol=1e-4, atol=1e-3)


def test_mean_begins_as_that_of_imagenet(paper_network: AlexNet) -> None:
    assert paper_network.mean.shape == (3, 224, 224)
    assert paper_network.mean.mean((1, 2)).tolist() == pytest.approx(IMAGENET_MEAN, rel=1e-5)
    assert paper_network.mean.dtype == torch.float32
    assert "mean" in paper_network.state_dict()
    assert "mean" not in dict(paper_network.named_parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_bytes_and_floats_are_the_same_images(dtype: torch.dtype) -> None:
    """0..255 are exact in every float type; float64 is what NumPy hands over."""
    model = tiny()
    images = pictures(2, 224)
    assert torch.equal(model(images), model(images.to(dtype)))


def test_memory_format_does_not_change_the_answer() -> None:
    model = randomise(tiny())
    images = pictures(2, 224)
    expected = model(images)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = model(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 3, 223, 224), (1, 1, 224, 224), (3, 224, 224)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(N, 3, 224, 224\)"):
        tiny()(torch.zeros(shape))


def test_too_small_an_image_size_is_a_user_error() -> None:
    with pytest.raises(UserError, match="too small for the network"):
        AlexNet("paper", image_size=30)
    with pytest.raises(UserError, match="did you mean 'original'"):
        AlexNet("orignal")


# --- initial weights -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["paper-literal", "original", "caffe", "caffenet"])
def test_initial_weights_follow_the_table(name: str) -> None:
    """Full convolutions; the hidden layers are narrower only to save time."""
    check_initial_weights(AlexNet(replace(VARIANTS[name], hidden=256), seed=1))


def test_initial_weights_of_the_default_network(paper_network: AlexNet) -> None:
    check_initial_weights(paper_network)


def check_initial_weights(model: AlexNet) -> None:
    deviations = {
        "paper": (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01),
        "paper-literal": (0.01,) * 8,
        "original": (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01),
        "caffe": (0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01),
        "caffenet": (0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01),
    }[model.variant.name]
    one = 0.1 if model.variant.name == "caffe" else 1.0
    biases = (0.0, one, 0.0, one, one, one, one, 0.0)
    for name, deviation, bias in zip(WEIGHT_LAYERS, deviations, biases, strict=True):
        layer = model.get_submodule(name)
        assert isinstance(layer.weight, Tensor)
        assert isinstance(layer.bias, Tensor)
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.02), name
        assert abs(layer.weight.mean().item()) < 5 * deviation / layer.weight.numel() ** 0.5, name
        kurtosis = (layer.weight / deviation).pow(4).mean().item()
        assert kurtosis == pytest.approx(3.0, abs=0.2), name  # a Gaussian, not a uniform
        assert (layer.bias == bias).all(), name


def test_initial_weights_of_one_tower_are_those_of_torch() -> None:
    model = AlexNet(replace(VARIANTS["one-tower"], hidden=256), seed=1)
    for name in WEIGHT_LAYERS:
        layer = model.get_submodule(name)
        assert isinstance(layer.weight, Tensor)
        assert isinstance(layer.bias, Tensor)
        bound = layer.weight[0].numel() ** -0.5  # torch: uniform within 1 / sqrt(fan-in)
        assert layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
        assert layer.bias.abs().max() <= bound
        assert layer.bias.std() > 0.3 * bound


def test_initial_weights_are_a_pure_function_of_the_seed() -> None:
    torch.manual_seed(1)
    first = tiny(seed=5)
    torch.manual_seed(2)
    again, other = tiny(seed=5), tiny(seed=6)
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name)), name
        if name.endswith("weight"):
            assert not torch.equal(parameter, other.get_parameter(name)), name


def test_layers_draw_their_weights_independently() -> None:
    """conv4 and conv5 have the same numbers of weights in a row; they must not share them."""
    model = tiny(width=1 / 8)
    weights = [model.get_submodule(name).weight for name in WEIGHT_LAYERS]
    for a, b in itertools.pairwise(weights):
        assert isinstance(a, Tensor)
        assert isinstance(b, Tensor)
        n = min(a.numel(), b.numel())
        both = torch.stack([a.flatten()[:n], b.flatten()[:n]])
        assert abs(torch.corrcoef(both)[0, 1]) < 4 / n**0.5


# --- dropout ---------------------------------------------------------------------------------


def stages_in_training(model: AlexNet, keys_: Tensor) -> dict[str, Tensor]:
    model.train()
    images = pictures(len(keys_), model.variant.image_size)
    with torch.no_grad():
        return model.activations(images, keys_)


def test_dropout_follows_fc6_and_fc7_and_nothing_else() -> None:
    model = tiny(image_size=64)
    first = stages_in_training(model, keys(4, step=0))
    second = stages_in_training(model, keys(4, step=1))
    same = [name for name in first if torch.equal(first[name], second[name])]
    assert same == [name for name in first if list(first).index(name) < 16 + 1]
    assert same[-1] == "relu6"


def test_mask_of_2012_halves_the_expected_signal_and_the_test_signal() -> None:
    """E[train] = x / 2 without rescaling, and exactly x / 2 at test time."""
    dropout = tiny().get_submodule("dropout6")
    x = 1.0 + torch.rand(400, 256, generator=torch.Generator().manual_seed(0))
    dropout.train()
    y = dropout(x, keys(400))
    assert ((y == 0) | (y == x)).all()
    assert abs((y / x).mean() - 0.5) < 4 * 0.5 / y.numel() ** 0.5
    dropout.eval()
    assert torch.equal(dropout(x), 0.5 * x)


@pytest.mark.parametrize("probability", [0.5, 0.2])
def test_scaling_while_training_keeps_the_expected_signal(probability: float) -> None:
    dropout = tiny("caffe", dropout=probability).get_submodule("dropout7")
    x = 1.0 + torch.rand(400, 256, generator=torch.Generator().manual_seed(0))
    dropout.train()
    y = dropout(x, keys(400))
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / (1 - probability))
    assert abs(kept.double().mean() - (1 - probability)) < 4 * 0.5 / y.numel() ** 0.5
    dropout.eval()
    assert torch.equal(dropout(x), x)


def test_half_of_the_units_of_fc6_and_fc7_are_dropped() -> None:
    model = tiny(width=1 / 4, image_size=64)
    stages = stages_in_training(model, keys(32))
    for before, after in (("relu6", "dropout6"), ("relu7", "dropout7")):
        alive = stages[before] > 0
        dropped = (stages[after] == 0) & alive
        share = (dropped.sum() / alive.sum()).item()
        assert share == pytest.approx(0.5, abs=4 * 0.5 / alive.sum().item() ** 0.5)
    assert not torch.equal(stages["dropout6"] == 0, stages["dropout7"] == 0)


def test_one_tower_drops_the_inputs_of_fc6_and_fc7() -> None:
    model = tiny("one-tower")
    stages = stages_in_training(model, keys(4))
    kept = stages["dropout6"] != 0
    torch.testing.assert_close(stages["dropout6"][kept], 2 * stages["pool5"][kept])
    assert torch.equal(stages["fc8"], model.fc8(stages["relu7"]))


def test_a_sample_trains_alike_in_any_batch_and_memory_format() -> None:
    for name in ("paper", "one-tower"):
        model = randomise(tiny(name, image_size=80)).train()
        images, all_keys = pictures(4, 80), keys(4)
        together = model(images, all_keys)
        alone = torch.cat([model(images[i : i + 1], all_keys[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.testing.assert_close(model(images, all_keys), together, rtol=1e-4, atol=1e-4)


def test_without_keys_training_draws_from_torchs_own_generator() -> None:
    model = tiny(image_size=64).train()
    images = pictures(2, 64)

    def logits(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return model(images)  # type: ignore[no-any-return]

    assert torch.equal(logits(1), logits(1))
    assert not torch.equal(logits(1), logits(2))


def test_without_dropout_training_is_evaluation() -> None:
    model = tiny(dropout=0.0, image_size=64)
    images = pictures(2, 64)
    assert torch.equal(model.train()(images), model.eval()(images))


# --- gradients -------------------------------------------------------------------------------


def test_a_batch_twice_gives_the_same_gradients() -> None:
    """The loss is the mean over the batch: sizes of batches do not scale the gradient."""
    model = randomise(tiny(image_size=64))
    images, labels = pictures(3, 64), torch.tensor([1, 4, 9])

    def gradients(times: int) -> Iterator[Tensor]:
        model.zero_grad()
        logits = model(images.repeat(times, 1, 1, 1))
        torch.autograd.backward(F.cross_entropy(logits, labels.repeat(times)))
        for parameter in model.parameters():
            assert parameter.grad is not None
            yield parameter.grad.clone()

    for once, twice in zip(list(gradients(1)), gradients(2), strict=True):
        torch.testing.assert_close(once, twice, rtol=0.0, atol=1e-5 * once.abs().max().item())


@pytest.mark.parametrize("name", ["paper", "original", "caffenet"])
def test_gradients_are_those_of_the_plain_restatement(name: str) -> None:
    model = randomise(tiny(name))
    images, labels = pictures(2, model.variant.image_size), torch.tensor([3, 7])
    parameters = dict(model.named_parameters())
    found = torch.autograd.grad(F.cross_entropy(model(images), labels), list(parameters.values()))
    expected = torch.autograd.grad(
        F.cross_entropy(plain_logits(name, model, images), labels), list(parameters.values())
    )
    for parameter, a, b in zip(parameters, found, expected, strict=True):
        assert b.abs().max() > 0, parameter
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * b.abs().max().item())


# --- the 2014 net of other libraries ---------------------------------------------------------


def plain_translation(classes: int) -> nn.Sequential:
    """What other libraries call AlexNet, as they write it (Krizhevsky 2014, one tower)."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.AdaptiveAvgPool2d(6), nn.Flatten()),
        *(nn.Dropout(0.5), nn.Linear(256 * 6 * 6, 4096), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, classes),
    )


def test_one_tower_computes_what_the_plain_translation_computes() -> None:
    """Its weights are copied over; its normalised input is our raw input, mean inside."""
    torch.manual_seed(0)
    theirs = plain_translation(1000).eval()
    ours = AlexNet("one-tower", seed=None).eval()
    layers = [m for m in theirs if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum(p.numel() for p in theirs.parameters()) == 61_100_840
    with torch.no_grad():
        for name, layer in zip(WEIGHT_LAYERS, layers, strict=True):
            ours.get_submodule(name).load_state_dict(layer.state_dict())
        images = pictures(2, 224)
        expected = theirs(images - ours.mean)
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours(images), expected, rtol=1e-4, atol=1e-5)


# --- weights files ---------------------------------------------------------------------------


def test_weights_file_gives_back_the_network(tmp_path: Path) -> None:
    model = randomise(tiny("original", classes=3, image_size=70))
    model.classes = ("cat", "dog", "猫")
    model.stored_size = 80
    model.training_data = {"name": "pets", "train_images": 3}
    for memory_format in (torch.contiguous_format, torch.channels_last):
        model = model.to(memory_format=memory_format)  # type: ignore[call-overload]
        save_weights(tmp_path / "weights.safetensors", model)
        for place in (tmp_path, tmp_path / "weights.safetensors", str(tmp_path)):
            again = load(place)
            assert again.variant == model.variant
            assert again.classes == ("cat", "dog", "猫")
            assert again.stored_size == 80
            assert again.training_data == {"name": "pets", "train_images": 3}
            assert not again.training
            assert all(parameter.requires_grad for parameter in again.parameters())
            state = model.state_dict()
            assert again.state_dict().keys() == state.keys()
            for name, tensor in again.state_dict().items():
                assert torch.equal(tensor, state[name]), name
            images = pictures(2, 70)
            torch.testing.assert_close(again(images), model(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"not a weights file", None])
def test_files_that_are_no_weights_are_user_errors(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="weights"):
        load(path)
    with pytest.raises(UserError):
        load(tmp_path)


def test_a_foreign_or_damaged_weights_file_is_a_user_error(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = tmp_path / "weights.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="not written by alexnet"):
        load(path)
    save_weights(path, tiny())
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot read"):
        load(path)
    path.write_bytes(whole)
    tensors = load_file(path)
    del tensors["fc8.bias"]
    save_file(tensors, path, metadata=header)
    with pytest.raises(UserError):
        load(path)
