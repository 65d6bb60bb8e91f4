"""A Triton kernel for dropout masks: the bits of `alexnet.ops.dropout`, in one launch.

Written as tensor operations, the ten Philox rounds are 315 launches a mask on a GPU.
Importing this module imports Triton.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_THREADS = 128  # of a program, one Philox block of eight units each


def fill_mask(keys: Tensor, mask: Tensor, threshold: int, layer: int, first_unit: int) -> None:
    """Fill `mask`, (N, units) bool, from `keys`, (N, 2) int64 and contiguous."""
    units = mask.shape[1]
    blocks = triton.cdiv(units, 8)
    items = len(keys) * blocks
    if not items:
        return
    with torch.cuda.device_of(mask):
        mask_kernel[(triton.cdiv(items, _THREADS),)](
            keys,
            mask.view(torch.uint8),
            items,
            blocks,
            units,
            first_unit // 8,
            threshold,
            layer,
            THREADS=_THREADS,
            num_warps=_THREADS // 32,
            enable_fp_fusion=True,
        )


@triton.jit
def mask_kernel(
    key_pointer, mask_pointer, items, blocks, units, first_block, threshold, layer,
    THREADS: tl.constexpr,
):  # fmt: skip
    """A thread draws a block: 128 bits that decide for eight units."""
    item = tl.program_id(0) * THREADS + tl.arange(0, THREADS)
    sample, block = item // blocks, item % blocks
    here = item < items
    k0 = tl.load(key_pointer + 2 * sample, mask=here, other=0).to(tl.uint32)
    k1 = tl.load(key_pointer + 2 * sample + 1, mask=here, other=0).to(tl.uint32)
    c0 = (first_block + block).to(tl.uint32)
    c2 = tl.full(c0.shape, 0, tl.uint32)
    c1, c3 = c2 + layer, c2  # an integer of 1 is a constant here, and has no methods
    for _ in tl.static_range(10):  # Philox 4x32-10, as `alexnet.draws.philox`
        high0, low0 = tl.umulhi(c0, 0xD2511F53), c0 * 0xD2511F53
        high1, low1 = tl.umulhi(c2, 0xCD9E8D57), c2 * 0xCD9E8D57
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += 0x9E3779B9
        k1 += 0xBB67AE85
    # Lanes in order: the low and the high half of c0, of c1, of c2, of c3.
    words = tl.join(tl.join(c0, c2), tl.join(c1, c3))  # (THREADS, 2, 2)
    halves = tl.join(words & 0xFFFF, words >> 16)  # (THREADS, 2, 2, 2)
    keep = tl.reshape(halves, (THREADS, 8)).to(tl.int32) >= threshold
    unit = block[:, None] * 8 + tl.arange(0, 8)[None, :]
    place = sample.to(tl.int64)[:, None] * units + unit
    tl.store(mask_pointer + place, keep.to(tl.uint8), mask=here[:, None] & (unit < units))
