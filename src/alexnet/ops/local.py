"""Convolution whose weights are not shared between positions: the authors' `local` layers."""

import torch
import torch.nn.functional as F
from torch import Tensor


def local_convolution(x: Tensor, weight: Tensor, bias: Tensor, kernel: int) -> Tensor:
    """A convolution of stride 1 with weights and biases of its own at every position.

    The input is padded with zeros so that the output is as large (cuda-convnet, `type=local`).

    Args:
        x: (N, C, H, W).
        weight: (H * W, C * kernel * kernel, K): for each position, in reading order, the weights of
            K kernels over (channel, row, column).
        bias: (H * W, K).
        kernel: side of the window, odd.

    Returns:
        (N, K, H, W).
    """
    height, width = x.shape[2:]
    patches = F.unfold(x, kernel, padding=kernel // 2)  # (N, C * kernel * kernel, H * W)
    by_position = torch.bmm(patches.permute(2, 0, 1), weight)  # (H * W, N, K)
    outputs = by_position + bias[:, None]
    return outputs.permute(1, 2, 0).reshape(len(x), -1, height, width)
