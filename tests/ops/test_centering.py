"""The mean is subtracted in one pass: the same numbers as torch's operations, in every layout."""

import contextlib

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.native.build import library
from alexnet.ops import centered, centering


def pixels(dtype: torch.dtype, shape: tuple[int, ...] = (3, 3, 7, 5)) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    whole = torch.randint(0, 256, shape, generator=generator)
    some = whole.to(dtype) if dtype == torch.uint8 else whole + torch.rand(shape).to(dtype)
    return some.to(memory_format=torch.channels_last)


MEAN = 255.0 * torch.rand(3, 7, 5, generator=torch.Generator().manual_seed(1))


def by_hand(images: Tensor, overhang: int) -> Tensor:
    n, c, h, w = images.shape
    out = torch.zeros(n, c, h + overhang, w + overhang, dtype=torch.float64)
    for index in range(n):
        out[index, :, :h, :w] = images[index].double() - MEAN.double()
    return out


@pytest.mark.parametrize("overhang", [0, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.int64])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("is_narrow", [False, True])
def test_it_is_the_difference(
    overhang: int, dtype: torch.dtype, layout: torch.memory_format, is_narrow: bool
) -> None:
    images = pixels(dtype).contiguous(memory_format=layout)
    with torch.autocast("cpu", torch.bfloat16) if is_narrow else contextlib.nullcontext():
        result = centered(images, MEAN, overhang)
    expected = by_hand(images, overhang).float()
    if result.dtype == torch.bfloat16:
        assert is_narrow
        expected = expected.to(torch.bfloat16)
    assert torch.equal(result, expected)


@pytest.mark.skipif(library("center", threads=True) is None, reason="no C compiler here")
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_one_pass_is_taken_for_images_as_the_feed_gives_them(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(F, "pad")
    with torch.autocast("cpu", torch.bfloat16):
        result = centered(pixels(dtype), MEAN, 2)
    assert result.dtype == torch.bfloat16
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_images_that_are_learnt_get_their_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(centering, "_in_one_pass")
    images = pixels(torch.float32).requires_grad_()
    centered(images, MEAN, 1).square().sum().backward()
    torch.testing.assert_close(images.grad, 2 * (images.detach() - MEAN))


def test_a_mean_that_is_learnt_gets_its_gradient() -> None:
    mean = MEAN.clone().requires_grad_()
    centered(pixels(torch.float32), mean, overhang=3).sum().backward()
    assert mean.grad is not None
    assert torch.equal(mean.grad, torch.full_like(MEAN, -3.0))


def test_a_mean_for_each_channel_is_spread() -> None:
    images, mean = pixels(torch.uint8), MEAN[:, :1, :1]
    assert torch.equal(centered(images, mean), images.float() - mean)


def test_a_mean_on_another_device_is_refused_by_torch() -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        centered(pixels(torch.uint8), MEAN.to("meta")).sum().item()


def test_no_images_and_no_numbers() -> None:
    empty = torch.empty(0, 7, 5, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    assert centered(empty, MEAN, 3).shape == (0, 3, 10, 8)
    broken = torch.full((1, 7, 5, 3), float("nan")).permute(0, 3, 1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert centered(broken, MEAN).isnan().all()
