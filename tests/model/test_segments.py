"""Stages that run as one operation: which ones, and that nobody can tell."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from alexnet import AlexNet
from alexnet.model.changes import resized
from alexnet.model.normalization import LocalResponseNorm
from alexnet.model.segments import fused_stage, segments
from alexnet.model.variants import VARIANTS, Normalization
from alexnet.ops import Stage


def test_the_segments_of_the_paper_and_of_net_145() -> None:
    joined = [names for names in segments(VARIANTS["paper"]) if len(names) > 1]
    assert joined == [
        ("relu1", "norm1", "pool1"),
        ("relu2", "norm2", "pool2"),
        ("relu5", "pool5"),
    ]
    assert [names for names in segments(VARIANTS["original"]) if len(names) > 1] == [
        ("norm1", "pool1"),
        ("relu2", "norm2"),
    ]
    assert next(names for names in segments(VARIANTS["caffenet"]) if len(names) > 1) == (
        "relu1",
        "pool1",
    )


def joined(variant: str, *names: str) -> Stage | None:
    with torch.device("meta"):
        model = AlexNet(variant, seed=None)
    return fused_stage([model.get_submodule(name) for name in names])


def test_constants_come_from_the_table() -> None:
    assert joined("original", "norm1", "pool1") == Stage(
        relu=False, size=5, alpha=1e-4 / 5, beta=0.75, k=2.0, columns=2, window=3
    )
    stage = joined("caffe", "relu1", "norm1", "pool1")
    assert stage is not None
    assert (stage.k, stage.columns) == (1.0, 1)


@pytest.mark.parametrize("name", list(VARIANTS))
@pytest.mark.parametrize("training", [False, True])
def test_forward_is_the_last_of_the_activations(name: str, training: bool) -> None:
    model = AlexNet(resized(VARIANTS[name], 0.125), num_classes=7).train(training)
    model = model.to(memory_format=torch.channels_last)
    images = torch.randint(0, 256, (2, 3, model.variant.image_size, model.variant.image_size))
    keys = torch.tensor([[1, 2], [3, 4]])
    together, apart = (
        model(images, keys),
        model.activations(images, keys)["fc8"],
    )
    assert torch.allclose(together, apart, rtol=1e-4, atol=1e-5)
    parameters = list(model.parameters())
    for a, b in zip(
        torch.autograd.grad(together.square().sum(), parameters),
        torch.autograd.grad(apart.square().sum(), parameters),
        strict=True,
    ):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))


@pytest.mark.parametrize("name", ["paper", "no-exchange"])
@pytest.mark.parametrize("training", [False, True])
def test_no_images_have_no_answers(name: str, training: bool) -> None:
    model = AlexNet(resized(VARIANTS[name], 0.125), num_classes=3).train(training)
    logits = model(torch.zeros(0, 3, 224, 224))
    assert logits.shape == (0, 3)
    logits.sum().backward()
    assert model.conv1.weight.grad is not None
    assert not model.conv1.weight.grad.any()


def narrow_model() -> AlexNet:
    return AlexNet(resized(VARIANTS["paper"], 0.125), num_classes=3).eval()


def test_a_hook_on_any_stage_is_called() -> None:
    model = narrow_model()
    seen = []
    model.norm1.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    model(torch.zeros(1, 3, 224, 224))
    assert seen == [(1, 12, 55, 55)]


@pytest.mark.parametrize("kind", ["register_full_backward_hook", "register_full_backward_pre_hook"])
def test_a_hook_on_the_gradients_of_any_stage_is_called(kind: str) -> None:
    model = narrow_model()
    seen = []
    getattr(model.relu5, kind)(lambda module, *gradients: seen.append(gradients[-1][0].shape))
    model(torch.zeros(1, 3, 224, 224)).sum().backward()
    assert seen == [(1, 32, 13, 13)]


def test_a_hook_on_all_modules_sees_every_stage() -> None:
    model = narrow_model()
    seen = []
    hook = nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: seen.append(module)
    )
    try:
        model(torch.zeros(1, 3, 224, 224))
    finally:
        hook.remove()
    assert seen == [*(model.get_submodule(name) for name in model.variant.order), model]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("norm1", lambda model: nn.Identity()),
        ("relu1", lambda model: nn.Tanh()),
        ("norm2", lambda model: LocalResponseNorm(Normalization(size=3, alpha=0.1), 1)),
        ("pool5", lambda model: nn.MaxPool2d(3, 2, padding=1, ceil_mode=True, dilation=2)),
        ("norm1", lambda model: model.relu1),
    ],
)
def test_a_module_that_a_user_puts_in_is_the_one_that_computes(
    name: str, other: Callable[[AlexNet], nn.Module]
) -> None:
    model = narrow_model().to(memory_format=torch.channels_last)
    images = torch.randint(0, 256, (2, 3, 224, 224)).to(memory_format=torch.channels_last)
    before = model(images)
    model.add_module(name, other(model))
    assert torch.allclose(model(images), model.activations(images)["fc8"], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model(images), before, rtol=1e-3, atol=1e-4)
