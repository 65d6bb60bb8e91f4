"""Which way a stage takes: asked by what computes it, and by what plans its memory."""

from typing import Literal

from torch import Tensor

from alexnet.ops.lrn_fused import is_available
from alexnet.ops.native_stage import is_native_for
from alexnet.ops.parts import Stage

Way = Literal["native", "triton", "by parts"]
"""In one pass over memory by our own C on a processor or by a Triton kernel on a GPU, or part by
part."""


def way_of(x: Tensor, stage: Stage) -> Way:
    """The fastest way that there is for a stage on these activations.

    Args:
        x: (N, C, H, W).
        stage: what is to be computed.
    """
    if x.shape[1] % stage.columns == 0 and is_native_for(x, stage.window):
        return "native"
    if (stage.size or stage.window) and is_available(x, stage.window):
        return "triton"
    return "by parts"
