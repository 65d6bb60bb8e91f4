"""The same-map normalisation of net 145 against explicit loops."""

import pytest
import torch
from torch import Tensor

from alexnet.ops import same_map_norm


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).double()


def loops(x: Tensor, size: int, scale: float, power: float, k: float) -> Tensor:
    """x / (k + scale / size^2 * sum of squares)^power, zero outside the map, divisor fixed."""
    y = torch.empty_like(x)
    height, width = x.shape[2:]
    half = size // 2
    for row in range(height):
        for column in range(width):
            window = x[:, :, max(0, row - half) : row + half + 1,
                       max(0, column - half) : column + half + 1]  # fmt: skip
            total = window.square().sum((2, 3))
            y[:, :, row, column] = x[:, :, row, column] / (k + scale / size**2 * total) ** power
    return y


@pytest.mark.parametrize(("size", "scale", "power", "k"), [
    (5, 1e-3, 0.75, 1.0), (3, 5e-5, 0.75, 1.0), (5, 0.1, 0.5, 2.0),
])  # fmt: skip
def test_is_the_explicit_loop(size: int, scale: float, power: float, k: float) -> None:
    x = 50.0 * noise(2, 3, 7, 6)
    y = same_map_norm(x, size, scale, power, k)
    torch.testing.assert_close(y, loops(x, size, scale, power, k), rtol=1e-12, atol=0.0)


def test_defaults_are_those_of_layers_145() -> None:
    x = torch.full((1, 1, 9, 9), 10.0, dtype=torch.float64)
    y = same_map_norm(x)
    assert y[0, 0, 4, 4].item() == pytest.approx(10 / (1 + 1e-3 * 100) ** 0.75, rel=1e-12)
    # In the corner 9 of the 25 places are inside; the divisor is 25 all the same.
    assert y[0, 0, 0, 0].item() == pytest.approx(10 / (1 + 1e-3 / 25 * 900) ** 0.75, rel=1e-12)


def test_response_to_an_impulse_is_spatial() -> None:
    """It spreads over the 5x5 neighbourhood of its own map and to no other map."""
    x = torch.ones(1, 4, 11, 11)
    with_impulse = x.clone()
    with_impulse[0, 2, 5, 5] = 1000.0
    changed = same_map_norm(x) != same_map_norm(with_impulse)
    expected = torch.zeros_like(changed)
    expected[0, 2, 3:8, 3:8] = True
    assert torch.equal(changed, expected)


def test_keeps_type_and_memory_format() -> None:
    x = (50.0 * noise(2, 8, 6, 6)).float().to(memory_format=torch.channels_last)
    y = same_map_norm(x.bfloat16())
    assert y.dtype == torch.bfloat16
    exact = same_map_norm(x.bfloat16().double())
    torch.testing.assert_close(y.double(), exact, rtol=2**-8, atol=0.0)
    assert same_map_norm(x).is_contiguous(memory_format=torch.channels_last)


def test_gradient_is_the_derivative() -> None:
    x = noise(1, 2, 6, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: same_map_norm(x, scale=1.0), (x,))
