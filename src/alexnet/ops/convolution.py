"""One convolution, several equal ways to compute it; which is fastest depends on the hardware.

| form | what it does | where it can pay |
|---|---|---|
| `plain` | torch's own, grouped where there are columns | processors; the reference |
| `split` | one convolution a column | grouped convolutions on slow paths |
| `dense` | one convolution, zeros between the columns | tensor cores: twice the products |
| `blocks` | strided windows become windows of blocks of pixels | conv1 on tensor cores |

All of them take and give the same tensors and leave the weights as they are.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def forms(groups: int, stride: int, padding: int) -> tuple[str, ...]:
    """The names of the forms that such a convolution has; `plain` comes first."""
    if groups > 1:
        return ("plain", "split", "dense")
    return ("plain", "blocks") if stride > 1 and padding == 0 else ("plain",)


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    form: str = "plain",
) -> Tensor:
    """A two-dimensional convolution in the named form.

    Args:
        x: (N, C, H, W).
        weight: (K, C / groups, R, R).
        bias: (K,).
        stride, padding: pixels.
        groups: equal groups of maps; group i of the output sees group i of the input only.
        form: one of `forms(groups, stride, padding)`.

    Returns:
        (N, K, H', W').
    """
    if form == "split":
        return _split(x, weight, bias, stride, padding, groups)
    if form == "dense":
        return F.conv2d(x, _block_diagonal(weight, groups), bias, stride, padding)
    if form == "blocks":
        return _blocks(x, weight, bias, stride)
    return F.conv2d(x, weight, bias, stride, padding, groups=groups)


def _split(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int, n: int) -> Tensor:
    columns = zip(x.chunk(n, 1), weight.chunk(n), bias.chunk(n), strict=True)
    return torch.cat([F.conv2d(a, w, b, stride, padding) for a, w, b in columns], 1)


def _block_diagonal(weight: Tensor, groups: int) -> Tensor:
    """(K, C / groups, R, R) -> (K, C, R, R), zero where a kernel does not see a map."""
    rows = []
    for index, own in enumerate(weight.chunk(groups)):
        zero = torch.zeros_like(own)
        rows.append(torch.cat([own if i == index else zero for i in range(groups)], 1))
    return torch.cat(rows)


def _blocks(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """Every stride x stride block of pixels becomes one pixel with all their channels."""
    kernel = weight.shape[-1]
    missing = -kernel % stride  # the kernel is brought to whole blocks with zeros
    outputs = [(side - kernel) // stride + 1 for side in x.shape[-2:]]
    needed = [(count - 1) * stride + kernel + missing for count in outputs]
    bottom, right = (need - side for need, side in zip(needed, x.shape[-2:], strict=True))
    x = F.pixel_unshuffle(F.pad(x, (0, right, 0, bottom)), stride)
    weight = F.pixel_unshuffle(F.pad(weight, (0, missing, 0, missing)), stride)
    return F.conv2d(x, weight, bias)
