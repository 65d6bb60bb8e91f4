"""Every form of a convolution is the same function, gradients included."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.ops.convolution import convolution, forms


@settings(max_examples=60, deadline=None)
@given(
    groups=st.integers(1, 3),
    kernel=st.integers(1, 11),
    stride=st.integers(1, 4),
    padding=st.integers(0, 2),
    extra=st.integers(0, 9),
    seed=st.integers(0, 2**31),
)
def test_forms_agree_with_torch_in_float64(
    groups: int, kernel: int, stride: int, padding: int, extra: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    side = kernel + extra
    shapes = (2, 2 * groups, side, side + 1), (3 * groups, 2, kernel, kernel), (3 * groups,)
    tensors = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    x, weight, bias = (t.requires_grad_() for t in tensors)
    expected = F.conv2d(x, weight, bias, stride, padding, groups=groups)
    gradients = torch.autograd.grad(expected.square().sum(), (x, weight, bias))
    for form in forms(groups, stride, padding):
        y = convolution(x, weight, bias, stride, padding, groups, form)
        torch.testing.assert_close(y, expected)
        mine = torch.autograd.grad(y.square().sum(), (x, weight, bias))
        for a, b in zip(mine, gradients, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((2, 1, 2), ("plain", "split", "dense")),
        ((1, 4, 0), ("plain", "blocks")),
        ((1, 4, 2), ("plain",)),
        ((1, 1, 1), ("plain",)),
    ],
)
def test_which_forms_there_are(arguments: tuple[int, int, int], names: tuple[str, ...]) -> None:
    assert forms(*arguments) == names
