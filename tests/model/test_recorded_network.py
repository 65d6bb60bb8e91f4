"""The whole network where it is recorded, not carried out: torch's own operations, all of them."""

import contextlib
import warnings

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from alexnet import AlexNet
from alexnet.config import OptimizerConfig
from alexnet.model.changes import resized
from alexnet.model.variants import VARIANTS
from alexnet.training.optimizer import allow_narrow_gradients, build_optimizer

KEYS = torch.arange(4).view(2, 2)


def pixels(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 64, 64, 3)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8).permute(0, 3, 1, 2)


@pytest.fixture
def model() -> AlexNet:
    made = AlexNet(resized(VARIANTS["paper"], 1 / 16, 64), num_classes=5, seed=0)
    allow_narrow_gradients(build_optimizer(made, OptimizerConfig()))
    return made


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("is_bf16", [False, True])
def test_it_compiles_in_one_graph(model: AlexNet, is_training: bool, is_bf16: bool) -> None:
    model.train(is_training)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16) if is_bf16 else contextlib.nullcontext():
        answer, expected = compiled(pixels(), KEYS), model(pixels(), KEYS)
    assert answer.dtype == expected.dtype
    torch.testing.assert_close(answer, expected, rtol=2e-2, atol=2e-2 if is_bf16 else 1e-5)
    answer.float().sum().backward()
    assert model.fc6.weight.grad is not None


def test_it_can_be_exported_and_traced(model: AlexNet) -> None:
    model.eval()
    expected = model(pixels(1)).detach()
    exported = torch.export.export(model, (pixels(),)).module()
    torch.testing.assert_close(exported(pixels(1)).detach(), expected, rtol=1e-4, atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        traced = torch.jit.trace(model, (pixels(),))  # type: ignore[no-untyped-call]
    torch.testing.assert_close(traced(pixels(1)).detach(), expected, rtol=1e-4, atol=1e-5)


def test_it_takes_shapes_alone() -> None:
    with FakeTensorMode():
        model = AlexNet(resized(VARIANTS["paper"], 1 / 16, 64), num_classes=5, seed=None)
        keys = torch.arange(4).view(2, 2)
        assert model(torch.empty(2, 3, 64, 64, dtype=torch.uint8), keys).shape == (2, 5)
