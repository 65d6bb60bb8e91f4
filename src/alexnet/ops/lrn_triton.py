"""Launching the Triton kernels for ReLU, local response normalisation and max pooling.

The three are bound by memory, not by arithmetic. Forward reads the input once and writes what
pooling leaves of it; backward reads the input again, computes the denominators anew and writes the
gradient once. All sums are float32, whatever the storage; nothing is added atomically, so results
are the same in every run.

Importing this module imports Triton; `alexnet.ops.lrn_fused` does so when a kernel is needed.
"""

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from alexnet.ops.lrn_kernels import backward_kernel, forward_kernel

_THREADS = 128  # of a program, one item each
LAUNCH = {"num_warps": _THREADS // 32, "enable_fp_fusion": True}
_STRIP_ROWS = 7  # pooled rows that one item walks down; 27 and 13 rows make 4 and 2 such strips
_STRIP_ITEMS = 1 << 16  # with fewer items than this, strips of one row fill the device better


class Constants(NamedTuple):
    """What is computed: constants of normalisation and pooling. window = stride = 1: no pooling."""

    relu: bool
    size: int
    alpha: float
    beta: float
    k: float
    columns: int
    window: int
    stride: int


def forward(x: Tensor, y: Tensor, winners: Tensor | None, stage: Constants) -> None:
    """Write max pooling of the normalised `x` into `y`, and each winner's place in its window.

    Args:
        x: (N, C, H, W), dense, contiguous or channels-last.
        y: (N, C, H', W') in the memory format of x.
        winners: as y, uint8: row * window + column of the first maximum; None: not wanted.
        stage: the constants.
    """
    layout = _layout(x, stage)
    images, _, height, width = x.shape
    pooled_height, pooled_width = y.shape[2:]
    row_items = images * layout.groups * pooled_width
    enough = row_items * pooled_height >= _STRIP_ITEMS * _STRIP_ROWS
    strip_rows = _STRIP_ROWS if enough else 1
    strips = triton.cdiv(pooled_height, strip_rows)
    items = row_items * strips
    if not items:
        return
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        forward_kernel[(triton.cdiv(items, _THREADS),)](
            *(x, y, y if winners is None else winners),
            *(items, strips, strip_rows, height, width, pooled_height, pooled_width),
            *(stage.alpha, stage.beta, stage.k),
            KEEP_WINNERS=winners is not None,
            **layout.constants,
            **_compiled_in(stage),
        )


def backward(
    x: Tensor, gradient_y: Tensor, winners: Tensor | None, gradient_x: Tensor, stage: Constants
) -> None:
    """Write the gradient of the input into `gradient_x`; all tensors in one memory format."""
    layout = _layout(x, stage)
    images, _, height, width = x.shape
    cell_rows, cell_columns = triton.cdiv(height, stage.stride), triton.cdiv(width, stage.stride)
    items = images * layout.groups * cell_rows * cell_columns
    if not items:
        return
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        backward_kernel[(triton.cdiv(items, _THREADS),)](
            *(x, gradient_y, gradient_y if winners is None else winners, gradient_x),
            *(items, cell_rows, cell_columns, height, width, *gradient_y.shape[2:]),
            *(stage.alpha, stage.beta, stage.k),
            **layout.constants,
            **_compiled_in(stage),
        )


class _Layout(NamedTuple):
    groups: int  # of maps, in all columns
    constants: dict[str, int | bool]


def _layout(x: Tensor, stage: Constants) -> _Layout:
    """How the maps are dealt to threads: groups of a power of two that divides a column."""
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    maps = x.shape[1]
    column = maps // stage.columns
    widest = 16 // x.element_size() if channels_last else 8
    group = next(g for g in (8, 4, 2, 1) if g <= widest and column % g == 0)
    if x.numel() // group >= 2**31:
        raise ValueError(f"{tuple(x.shape)} is too large for 32-bit indices; split the batch")
    constants = {"CHANNELS_LAST": channels_last, "MAPS": maps, "COLUMN": column, "GROUP": group}
    return _Layout(maps // group, {**constants, "THREADS": _THREADS, **LAUNCH})


def _compiled_in(stage: Constants) -> dict[str, int | bool]:
    return {
        "RELU": stage.relu,
        "SIZE": stage.size,
        "THREE_QUARTERS": stage.beta == 0.75,
        "WINDOW": stage.window,
        "STRIDE": stage.stride,
    }
