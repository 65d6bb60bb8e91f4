"""What follows a convolution, as one operation: ReLU, normalisation, max pooling."""

import torch.nn.functional as F
from torch import Tensor

from alexnet.ops.choice import way_of
from alexnet.ops.lrn import local_response_norm
from alexnet.ops.lrn_fused import fused_relu_norm_pool
from alexnet.ops.native_stage import native_stage
from alexnet.ops.parts import Stage


def run_stage(x: Tensor, stage: Stage) -> Tensor:
    """All of a stage in one pass over memory where there is such a way, else part by part.

    Args:
        x: (N, C, H, W), any float type and memory format.

    Returns:
        (N, C, H', W'), H' and W' smaller where the stage pools.
    """
    way = way_of(x, stage)
    if way == "native":
        return native_stage(x, stage)
    return _in_one_kernel(x, stage) if way == "triton" else run_stage_by_parts(x, stage)


def _in_one_kernel(x: Tensor, stage: Stage) -> Tensor:
    # The sum over one map, taken 0 times, normalises nothing.
    size, alpha, k = (stage.size, stage.alpha, stage.k) if stage.size else (1, 0.0, 1.0)
    pooling = (stage.window, stage.stride) if stage.window else (1, 1)
    constants = (stage.relu, size, alpha, stage.beta, k, stage.columns)
    return fused_relu_norm_pool(x, *constants, *pooling, stage.ceil_mode)


def run_stage_by_parts(x: Tensor, stage: Stage) -> Tensor:
    """The same function, one part after the other; arguments as for `run_stage`."""
    if stage.relu:
        x = F.relu(x)
    if stage.size:
        x = local_response_norm(
            x, stage.size, stage.alpha, stage.beta, stage.k, columns=stage.columns
        )
    if stage.window:
        x = F.max_pool2d(x, stage.window, stage.stride, ceil_mode=stage.ceil_mode)
    return x
