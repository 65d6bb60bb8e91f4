"""Same-map normalisation: the layer `cnorm2a` of the authors' net 145, not in the paper."""

import torch
import torch.nn.functional as F
from torch import Tensor


def same_map_norm(
    x: Tensor, size: int = 5, scale: float = 1e-3, power: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + scale / size^2 * sum of x^2 over a size x size window of the same map)^power.

    The sum is zero outside the map and the divisor stays size^2 there (layers-145.cfg, line 107).

    Args:
        x: (N, C, H, W).
        size: side of the window, odd.
        scale, power, k: the constants of the authors' layer file.

    Returns:
        As `x`.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mean_square = F.avg_pool2d(
        wide.square(), size, stride=1, padding=size // 2, count_include_pad=True
    )
    return (wide * (k + scale * mean_square).pow(-power)).to(x.dtype)
