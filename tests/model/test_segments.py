"""Stages that run as one operation: which ones, and that nobody can tell."""

import pytest
import torch

from alexnet import AlexNet
from alexnet.model.changes import resized
from alexnet.model.segments import fused_stage, segments
from alexnet.model.variants import VARIANTS
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


def test_constants_come_from_the_table() -> None:
    assert fused_stage(VARIANTS["original"], ("norm1", "pool1")) == Stage(
        relu=False, size=5, alpha=1e-4 / 5, beta=0.75, k=2.0, columns=2, window=3
    )
    stage = fused_stage(VARIANTS["caffe"], ("relu1", "norm1", "pool1"))
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


def test_a_hook_on_any_stage_is_called() -> None:
    model = AlexNet(resized(VARIANTS["paper"], 0.125), num_classes=3).eval()
    seen = []
    model.norm1.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    model(torch.zeros(1, 3, 224, 224))
    assert seen == [(1, 12, 55, 55)]
