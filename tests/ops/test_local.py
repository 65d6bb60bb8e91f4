"""Convolution without shared weights against explicit loops."""

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.ops import local_convolution


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def loops(x: Tensor, weight: Tensor, bias: Tensor, kernel: int) -> Tensor:
    """Every output by itself; places outside the image count as zero."""
    count, channels, height, width = x.shape
    outputs = weight.shape[2]
    y = torch.zeros(count, outputs, height, width, dtype=x.dtype)
    for row in range(height):
        for column in range(width):
            place = row * width + column
            total = bias[place].expand(count, outputs).clone()
            for c in range(channels):
                for i in range(kernel):
                    for j in range(kernel):
                        r, s = row + i - kernel // 2, column + j - kernel // 2
                        if 0 <= r < height and 0 <= s < width:
                            tap = (c * kernel + i) * kernel + j
                            total = total + x[:, c, r, s, None] * weight[place, tap]
            y[:, :, row, column] = total
    return y


def test_is_the_explicit_loop() -> None:
    x, weight, bias = noise(2, 2, 4, 3), noise(12, 18, 2, seed=1), noise(12, 2, seed=2)
    found = local_convolution(x, weight, bias, 3)
    torch.testing.assert_close(found, loops(x, weight, bias, 3), rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_the_loop() -> None:
    tensors = [noise(2, 2, 3, 4), noise(12, 18, 3, seed=1), noise(12, 3, seed=2)]
    direction = noise(2, 3, 3, 4, seed=3)
    gradients = []
    for function in (local_convolution, loops):
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        gradients.append(torch.autograd.grad((function(*leaves, 3) * direction).sum(), leaves))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_with_the_same_weights_everywhere_it_is_a_convolution() -> None:
    x, shared, bias = noise(2, 3, 5, 6), noise(4, 3, 5, 5, seed=1), noise(4, seed=2)
    weight = shared.flatten(1).t().expand(30, 75, 4)
    found = local_convolution(x, weight, bias.expand(30, 4), 5)
    torch.testing.assert_close(found, F.conv2d(x, shared, bias, padding=2))
