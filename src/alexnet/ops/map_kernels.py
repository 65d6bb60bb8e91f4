"""How a thread of a Triton kernel finds, loads and stores its group of adjacent maps.

Only parts of the language that exist since Triton 3.6 (torch 2.11) are used, and nothing of its
library (`tl.zeros`): that is fixed as compiled or interpreted when Triton is first imported.
"""

import triton
import triton.language as tl


@triton.jit
def decode(
    item, rows, columns, MAPS: tl.constexpr, GROUP: tl.constexpr, CHANNELS_LAST: tl.constexpr
):
    """An item's image, first map, row and column; what is adjacent in memory varies fastest."""
    GROUPS: tl.constexpr = MAPS // GROUP
    if CHANNELS_LAST:
        group, rest = item % GROUPS, item // GROUPS
        column, rest = rest % columns, rest // columns
        row, image = rest % rows, rest // rows
    else:
        column, rest = item % columns, item // columns
        row, rest = rest % rows, rest // rows
        group, image = rest % GROUPS, rest // GROUPS
    return image, group * GROUP, row, column


@triton.jit
def origin(image, first_map, pixels, MAPS: tl.constexpr, CHANNELS_LAST: tl.constexpr):
    """Offset of an image's first pixel of a map; 64 bits, because a batch may exceed 32."""
    if CHANNELS_LAST:
        return image.to(tl.int64) * pixels * MAPS + first_map
    else:
        return (image.to(tl.int64) * MAPS + first_map) * pixels


@triton.jit
def load_maps(
    pointer, position, inside, map_stride, TYPE: tl.constexpr,
    CHANNELS_LAST: tl.constexpr, COLUMN: tl.constexpr, GROUP: tl.constexpr, HALO: tl.constexpr,
):  # fmt: skip
    """A group of maps and HALO more on either side, one variable each, zero outside the column."""
    maps = ()
    if CHANNELS_LAST:
        REACH: tl.constexpr = (HALO + GROUP - 1) // GROUP  # neighbouring groups on either side
        loaded = ()
        for step in tl.static_range(-REACH, REACH + 1):
            first = position + step * GROUP
            wanted = inside & (first >= 0) & (first < COLUMN)
            offsets = step * GROUP + tl.arange(0, GROUP)
            group = tl.load(pointer[:, None] + offsets[None, :], mask=wanted[:, None], other=0)
            loaded = loaded + _unstack(group.to(TYPE), GROUP)
        for lane in tl.static_range(GROUP + 2 * HALO):
            maps = maps + (loaded[REACH * GROUP - HALO + lane],)
    else:
        for lane in tl.static_range(-HALO, GROUP + HALO):
            map_ = position + lane
            wanted = inside & (map_ >= 0) & (map_ < COLUMN)
            value = tl.load(pointer + lane * map_stride, mask=wanted, other=0)
            maps = maps + (value.to(TYPE),)
    return maps


@triton.jit
def store_maps(pointer, maps, inside, map_stride, CHANNELS_LAST: tl.constexpr, GROUP: tl.constexpr):
    """Store a group of maps in the storage type of the pointer."""
    if CHANNELS_LAST:
        group = _stack(maps, GROUP).to(pointer.dtype.element_ty)
        tl.store(pointer[:, None] + tl.arange(0, GROUP)[None, :], group, mask=inside[:, None])
    else:
        for lane in tl.static_range(GROUP):
            value = maps[lane].to(pointer.dtype.element_ty)
            tl.store(pointer + lane * map_stride, value, mask=inside)


@triton.jit
def _unstack(group, GROUP: tl.constexpr):
    """(THREADS, GROUP) to GROUP tensors (THREADS,); free, since a thread holds its whole row."""
    THREADS: tl.constexpr = group.shape[0]
    if GROUP == 1:
        return (tl.reshape(group, (THREADS,)),)
    elif GROUP == 2:
        return tl.split(group)
    elif GROUP == 4:
        even, odd = tl.split(tl.reshape(group, (THREADS, 2, 2)))
        a, c = tl.split(even)
        b, d = tl.split(odd)
        return a, b, c, d
    else:
        even, odd = tl.split(tl.reshape(group, (THREADS, 2, 2, 2)))
        a, c, e, g = _unstack(tl.reshape(even, (THREADS, 4)), 4)
        b, d, f, h = _unstack(tl.reshape(odd, (THREADS, 4)), 4)
        return a, b, c, d, e, f, g, h


@triton.jit
def _stack(maps, GROUP: tl.constexpr):
    """GROUP tensors (THREADS,) to (THREADS, GROUP)."""
    THREADS: tl.constexpr = maps[0].shape[0]
    if GROUP == 1:
        return tl.reshape(maps[0], (THREADS, 1))
    elif GROUP == 2:
        return tl.join(maps[0], maps[1])
    elif GROUP == 4:
        even, odd = tl.join(maps[0], maps[2]), tl.join(maps[1], maps[3])
        return tl.reshape(tl.join(even, odd), (THREADS, 4))
    else:
        even = _stack((maps[0], maps[2], maps[4], maps[6]), 4)
        odd = _stack((maps[1], maps[3], maps[5], maps[7]), 4)
        return tl.reshape(tl.join(even, odd), (THREADS, 8))
