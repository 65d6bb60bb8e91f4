"""Gradients that stay bfloat16: the same update as torch's, and nothing else changes."""

import io

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.config import OptimizerConfig
from alexnet.model.changes import resized
from alexnet.model.network import AlexNet
from alexnet.model.variants import VARIANTS
from alexnet.native.build import library
from alexnet.ops.narrow import allow_narrow_gradient, momentum_update, narrow
from alexnet.training.optimizer import allow_narrow_gradients, build_optimizer

pytestmark = pytest.mark.skipif(
    library("momentum", threads=True) is None, reason="no C compiler here"
)
BF16 = torch.bfloat16


def bf16() -> torch.autocast:
    return torch.autocast("cpu", BF16)


@pytest.mark.parametrize("count", [1, 4095, 4096, 4097, 20_000])
def test_the_update_is_the_rule_in_float64(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    weight, velocity = torch.randn(2, count, generator=generator)
    gradient = torch.randn(count, generator=generator).to(BF16)
    w, v = weight.double(), velocity.double()
    v = 0.9 * v + (gradient.double() + 5e-4 * w)
    w = w - 0.01 * v
    momentum_update(weight, velocity, gradient, 0.01, 0.9, 5e-4)
    torch.testing.assert_close(weight.double(), w, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(velocity.double(), v, rtol=1e-6, atol=1e-6)


def test_the_gradient_is_narrow_only_where_it_is_allowed_and_the_products_are() -> None:
    x = torch.randn(4, 8)

    def gradient(weight: nn.Parameter, context: torch.autocast) -> Tensor:
        with context:
            y = F.linear(x, narrow(weight))
        y.float().square().sum().backward()
        assert weight.grad is not None
        given, weight.grad = weight.grad, None
        return given

    plain = nn.Parameter(torch.randn(5, 8))
    allowed = nn.Parameter(plain.detach().clone())
    assert allow_narrow_gradient(allowed)
    expected = gradient(plain, bf16())
    assert expected.dtype == torch.float32
    given = gradient(allowed, bf16())
    assert given.dtype == BF16
    assert torch.equal(given.float(), expected)


def test_the_copy_follows_the_weight_whoever_changes_it() -> None:
    weight = nn.Parameter(torch.randn(5, 8))
    assert allow_narrow_gradient(weight)

    def seen() -> Tensor:
        with bf16():
            return narrow(weight).detach().clone()

    assert torch.equal(seen(), weight.detach().to(BF16))
    momentum_update(
        weight.detach(), torch.zeros(5, 8), torch.randn(5, 8).to(BF16), 0.1, 0.9, 0.0
    )  # not told of the parameter's copy
    assert torch.equal(seen(), weight.detach().to(BF16))
    momentum_update(weight, torch.zeros(5, 8), torch.randn(5, 8).to(BF16), 0.1, 0.9, 0.0)
    assert torch.equal(seen(), weight.detach().to(BF16))
    with torch.no_grad():
        weight.mul_(3.0)
    assert torch.equal(seen(), weight.detach().to(BF16))
    weight.data = torch.randn(5, 8)
    assert torch.equal(seen(), weight.detach().to(BF16))


def test_a_look_in_inference_mode_does_not_stop_the_learning() -> None:
    weight = nn.Parameter(torch.randn(5, 8))
    assert allow_narrow_gradient(weight)
    with torch.inference_mode(), bf16():
        F.linear(torch.randn(4, 8), narrow(weight))
    with bf16():
        y = F.linear(torch.randn(4, 8), narrow(weight))
    y.float().sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == BF16


def test_an_old_graph_is_not_used_after_the_update() -> None:
    weight = nn.Parameter(torch.randn(5, 8))
    assert allow_narrow_gradient(weight)
    x = torch.randn(4, 8, requires_grad=True)
    with bf16():
        y = F.linear(x, narrow(weight))
    momentum_update(weight, torch.zeros(5, 8), torch.randn(5, 8).to(BF16), 0.1, 0.9, 0.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_the_copy_is_not_saved_along() -> None:
    weight = nn.Parameter(torch.randn(50, 40))
    assert allow_narrow_gradient(weight)
    sizes = []
    for _ in range(2):
        file = io.BytesIO()
        torch.save(weight, file)
        sizes.append(len(file.getvalue()))
        with bf16():
            F.linear(torch.randn(4, 40), narrow(weight))
    assert sizes[0] == sizes[1]


def test_a_training_is_the_same_as_with_wide_gradients() -> None:
    """The gradients are the same bits; only the rounding of the update is not."""

    def trained(*, is_narrow: bool) -> tuple[list[float], AlexNet]:
        model = AlexNet(resized(VARIANTS["paper"], 1 / 16, 64), num_classes=5, seed=1)
        optimizer = build_optimizer(model, OptimizerConfig(lr=0.01))
        if is_narrow:
            allow_narrow_gradients(optimizer)
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (8, 3, 64, 64), generator=generator, dtype=torch.uint8)
        labels, keys = torch.arange(8) % 5, torch.arange(16).view(8, 2)
        losses = []
        for _ in range(12):
            with bf16():
                logits = model(images, keys)
            loss = F.cross_entropy(logits.float(), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            assert model.fc6.weight.grad is not None
            assert (model.fc6.weight.grad.dtype == BF16) == is_narrow
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses, model

    (wide_losses, wide), (losses, narrowed) = trained(is_narrow=False), trained(is_narrow=True)
    assert losses == pytest.approx(wide_losses, rel=2e-3)
    for (name, a), (_, b) in zip(wide.named_parameters(), narrowed.named_parameters(), strict=True):
        assert (a - b).norm() <= 1e-3 * a.norm(), name
