"""Triton kernels: ReLU, local response normalisation and max pooling, one pass over the memory.

The three are bound by memory, not by arithmetic. Forward reads the input once and writes what
pooling leaves of it; backward reads the input again, computes the denominators anew and writes the
gradient once. All sums are float32, whatever the storage; nothing is added atomically, so results
are the same in every run.

A thread works on an *item*: a group of `GROUP` adjacent maps at one place, each held as a variable
of its own (a "lane"), so that a window across the maps is a sum of variables. In channels-last
memory a group is one load of 16 bytes, and the neighbours that a window needs are the groups
beside it; in contiguous memory adjacent threads read adjacent pixels of each map. Groups never
straddle a column, and maps outside the column read as zero.

Importing this module imports Triton; `alexnet.ops.lrn_fused` does so when a kernel is needed.
Only parts of the language that exist since Triton 3.6 (torch 2.11) are used, and nothing of its
library (`tl.zeros`): that is fixed as compiled or interpreted when Triton is first imported.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

_THREADS = 128  # of a program, one item each
LAUNCH = {"num_warps": _THREADS // 32, "enable_fp_fusion": True}
_STRIP_ROWS = 7  # pooled rows that one item walks down; 27 and 13 rows make 4 and 2 such strips
_STRIP_ITEMS = 1 << 16  # with fewer items than this, strips of one row fill the device better


class Stage(NamedTuple):
    """What is computed: constants of normalisation and pooling. window = stride = 1: no pooling."""

    relu: bool
    size: int
    alpha: float
    beta: float
    k: float
    columns: int
    window: int
    stride: int


def forward(x: Tensor, y: Tensor, winners: Tensor | None, stage: Stage) -> None:
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
    with torch.cuda.device_of(x):
        forward_kernel[(triton.cdiv(items, _THREADS),)](
            *(x, y, y if winners is None else winners),
            *(items, strips, strip_rows, height, width, pooled_height, pooled_width),
            *(stage.alpha, stage.beta, stage.k),
            KEEP_WINNERS=winners is not None,
            **layout.constants,
            **_constants(stage),
        )


def backward(
    x: Tensor, gradient_y: Tensor, winners: Tensor | None, gradient_x: Tensor, stage: Stage
) -> None:
    """Write the gradient of the input into `gradient_x`; all tensors in one memory format."""
    layout = _layout(x, stage)
    images, _, height, width = x.shape
    cell_rows, cell_columns = triton.cdiv(height, stage.stride), triton.cdiv(width, stage.stride)
    items = images * layout.groups * cell_rows * cell_columns
    if not items:
        return
    with torch.cuda.device_of(x):
        backward_kernel[(triton.cdiv(items, _THREADS),)](
            *(x, gradient_y, gradient_y if winners is None else winners, gradient_x),
            *(items, cell_rows, cell_columns, height, width, *gradient_y.shape[2:]),
            *(stage.alpha, stage.beta, stage.k),
            **layout.constants,
            **_constants(stage),
        )


class _Layout(NamedTuple):
    groups: int  # of maps, in all columns
    constants: dict[str, int | bool]


def _layout(x: Tensor, stage: Stage) -> _Layout:
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


def _constants(stage: Stage) -> dict[str, int | bool]:
    return {
        "RELU": stage.relu,
        "SIZE": stage.size,
        "THREE_QUARTERS": stage.beta == 0.75,
        "WINDOW": stage.window,
        "STRIDE": stage.stride,
    }


@triton.jit
def forward_kernel(
    x_pointer,
    y_pointer,
    winner_pointer,
    items,
    strips,
    strip_rows,
    height,
    width,
    pooled_height,
    pooled_width,
    alpha,
    beta,
    k,
    KEEP_WINNERS: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    MAPS: tl.constexpr,
    COLUMN: tl.constexpr,
    GROUP: tl.constexpr,
    THREADS: tl.constexpr,
    RELU: tl.constexpr,
    SIZE: tl.constexpr,
    THREE_QUARTERS: tl.constexpr,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
):
    """An item is a group of maps over a strip of pooled rows in one pooled column.

    Walking down, the last row of a window is the first of the next if they overlap by one, as 3x3
    windows with stride 2 do; then no input row is normalised twice.
    """
    OVERLAP: tl.constexpr = WINDOW - STRIDE == 1
    PIXEL: tl.constexpr = MAPS if CHANNELS_LAST else 1
    item = tl.program_id(0) * THREADS + tl.arange(0, THREADS)
    image, first_map, strip, column = _decode(
        item, strips, pooled_width, MAPS, GROUP, CHANNELS_LAST
    )
    image_x = x_pointer + _origin(image, first_map, height * width, MAPS, CHANNELS_LAST)
    image_y = _origin(image, first_map, pooled_height * pooled_width, MAPS, CHANNELS_LAST)
    map_stride, map_stride_y = height * width, pooled_height * pooled_width
    position = first_map % COLUMN
    here = item < items
    x = column * STRIDE

    best, winner = _lowest(here, GROUP)
    if OVERLAP:
        best, winner = _row_maximum(
            image_x, position, here, strip * strip_rows * STRIDE, x, height, width, map_stride,
            alpha, beta, k,
            CHANNELS_LAST, PIXEL, COLUMN, GROUP, RELU, SIZE, THREE_QUARTERS, WINDOW,
        )  # fmt: skip
    for step in range(strip_rows):
        row = strip * strip_rows + step
        row_best, row_winner = best, winner
        for below in range(1 if OVERLAP else 0, WINDOW):
            row_best, row_winner = _row_maximum(
                image_x, position, here, row * STRIDE + below, x, height, width, map_stride,
                alpha, beta, k,
                CHANNELS_LAST, PIXEL, COLUMN, GROUP, RELU, SIZE, THREE_QUARTERS, WINDOW,
            )  # fmt: skip
            best, winner = _larger(best, winner, row_best, row_winner, here, below * WINDOW, GROUP)
        offset = image_y + (row * pooled_width + column) * PIXEL
        inside = here & (row < pooled_height)
        _store_maps(y_pointer + offset, best, inside, map_stride_y, CHANNELS_LAST, GROUP)
        if KEEP_WINNERS:
            _store_maps(winner_pointer + offset, winner, inside, map_stride_y, CHANNELS_LAST, GROUP)
        if OVERLAP:
            best, winner = row_best, row_winner
        else:
            best, winner = _lowest(here, GROUP)


@triton.jit
def _row_maximum(
    image_x, position, here, y, x, height, width, map_stride, alpha, beta, k,
    CHANNELS_LAST: tl.constexpr, PIXEL: tl.constexpr, COLUMN: tl.constexpr, GROUP: tl.constexpr,
    RELU: tl.constexpr, SIZE: tl.constexpr, THREE_QUARTERS: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    """The maximum over WINDOW normalised pixels of one row from (y, x) on, and its place there."""
    best, winner = _lowest(here, GROUP)
    first = winner
    for right in range(WINDOW):
        inside = here & (y < height) & (x + right < width)
        activations = _activations(
            image_x + (y * width + x + right) * PIXEL, position, inside, map_stride,
            CHANNELS_LAST, COLUMN, GROUP, RELU, SIZE // 2,
        )  # fmt: skip
        denominators = _denominators(activations, alpha, k, GROUP, SIZE)
        values = ()
        for lane in tl.static_range(GROUP):
            power, _ = _inverse_powers(denominators[lane], beta, THREE_QUARTERS)
            values = values + (activations[lane + SIZE // 2] * power,)
        best, winner = _larger(best, winner, values, first, inside, right, GROUP)
    return best, winner


@triton.jit
def _lowest(here, GROUP: tl.constexpr):
    """Minus infinity at the first place: what every maximum begins with, as in torch."""
    best, winner = (), ()
    for lane in tl.static_range(GROUP):
        best = best + (tl.full(here.shape, float("-inf"), tl.float32),)
        winner = winner + (tl.full(here.shape, 0, tl.int32),)
    return best, winner


@triton.jit
def _larger(best, winner, values, places, inside, shift, GROUP: tl.constexpr):
    """The running maxima and their places after further values, whose places are shifted.

    As in torch, the first of equal maxima wins, and NaN wins over everything before it.
    """
    new_best, new_winner = (), ()
    for lane in tl.static_range(GROUP):
        value = values[lane]
        wins = inside & ((value > best[lane]) | (value != value))
        new_best = new_best + (tl.where(wins, value, best[lane]),)
        new_winner = new_winner + (tl.where(wins, places[lane] + shift, winner[lane]),)
    return new_best, new_winner


@triton.jit
def backward_kernel(
    x_pointer,
    gradient_y_pointer,
    winner_pointer,
    gradient_x_pointer,
    items,
    cell_rows,
    cell_columns,
    height,
    width,
    pooled_height,
    pooled_width,
    alpha,
    beta,
    k,
    CHANNELS_LAST: tl.constexpr,
    MAPS: tl.constexpr,
    COLUMN: tl.constexpr,
    GROUP: tl.constexpr,
    THREADS: tl.constexpr,
    RELU: tl.constexpr,
    SIZE: tl.constexpr,
    THREE_QUARTERS: tl.constexpr,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
):
    """An item is a group of maps over a cell of STRIDE x STRIDE pixels.

    The windows over a pixel depend only on its place in the cell, so that all items visit the same
    number of windows at the same time. Each pixel gathers from the windows that it won.
    """
    HALF: tl.constexpr = SIZE // 2
    PIXEL: tl.constexpr = MAPS if CHANNELS_LAST else 1
    item = tl.program_id(0) * THREADS + tl.arange(0, THREADS)
    image, first_map, cell_row, cell_column = _decode(
        item, cell_rows, cell_columns, MAPS, GROUP, CHANNELS_LAST
    )
    image_x = _origin(image, first_map, height * width, MAPS, CHANNELS_LAST)
    image_y = _origin(image, first_map, pooled_height * pooled_width, MAPS, CHANNELS_LAST)
    position = first_map % COLUMN
    here = item < items
    for down in range(STRIDE):
        for right in range(STRIDE):
            y, x = cell_row * STRIDE + down, cell_column * STRIDE + right
            inside = here & (y < height) & (x < width)
            gradients = _pooling_backward(
                gradient_y_pointer + image_y, winner_pointer + image_y, position, inside,
                cell_row, cell_column, down, right, pooled_height, pooled_width,
                CHANNELS_LAST, PIXEL, COLUMN, GROUP, HALF, WINDOW, STRIDE,
            )  # fmt: skip
            offset = image_x + (y * width + x) * PIXEL
            activations = _activations(
                x_pointer + offset, position, inside, height * width,
                CHANNELS_LAST, COLUMN, GROUP, RELU, 2 * HALF,
            )  # fmt: skip
            result = _normalization_backward(
                activations, gradients, alpha, beta, k, GROUP, RELU, SIZE, THREE_QUARTERS
            )
            _store_maps(
                gradient_x_pointer + offset, result, inside, height * width, CHANNELS_LAST, GROUP
            )


@triton.jit
def _pooling_backward(
    gradient_y, winner_y, position, inside, cell_row, cell_column, down, right,
    pooled_height, pooled_width,
    CHANNELS_LAST: tl.constexpr, PIXEL: tl.constexpr, COLUMN: tl.constexpr, GROUP: tl.constexpr,
    HALO: tl.constexpr, WINDOW: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    """The gradients of the windows that a pixel won, summed, for a group of maps and HALO beside.

    The pixel is the one at (down, right) of its cell; windows that begin `up` cells above and
    `left` cells before contain it if they are larger than the distance.
    """
    map_stride = pooled_height * pooled_width
    totals = ()
    for lane in tl.static_range(GROUP + 2 * HALO):
        totals = totals + (tl.full(inside.shape, 0.0, tl.float32),)
    for up in range((WINDOW - 1 - down + STRIDE) // STRIDE):
        for left in range((WINDOW - 1 - right + STRIDE) // STRIDE):
            row, column = cell_row - up, cell_column - left
            exists = inside & (row >= 0) & (row < pooled_height)
            exists = exists & (column >= 0) & (column < pooled_width)
            offset = (row * pooled_width + column) * PIXEL
            gradients = _load_maps(
                gradient_y + offset, position, exists, map_stride, tl.float32,
                CHANNELS_LAST, COLUMN, GROUP, HALO,
            )  # fmt: skip
            if WINDOW == 1:
                totals = gradients
            else:
                winners = _load_maps(
                    winner_y + offset, position, exists, map_stride, tl.int32,
                    CHANNELS_LAST, COLUMN, GROUP, HALO,
                )  # fmt: skip
                place = (up * STRIDE + down) * WINDOW + left * STRIDE + right
                totals = _add_where(totals, winners, place, gradients, GROUP + 2 * HALO)
    return totals


@triton.jit
def _add_where(totals, winners, place, gradients, COUNT: tl.constexpr):
    new_totals = ()
    for lane in tl.static_range(COUNT):
        gradient = tl.where(winners[lane] == place, gradients[lane], 0.0)
        new_totals = new_totals + (totals[lane] + gradient,)
    return new_totals


@triton.jit
def _normalization_backward(
    activations, gradients, alpha, beta, k,
    GROUP: tl.constexpr, RELU: tl.constexpr, SIZE: tl.constexpr, THREE_QUARTERS: tl.constexpr,
):  # fmt: skip
    """dL/da_i = g_i d_i^-beta - 2 alpha beta a_i * sum over the window of g a d^-(beta+1).

    `gradients` has SIZE // 2 maps more on either side than the result, `activations` twice that.
    """
    HALF: tl.constexpr = SIZE // 2
    denominators = _denominators(activations, alpha, k, GROUP + 2 * HALF, SIZE)
    direct, through = (), ()
    for lane in tl.static_range(GROUP + 2 * HALF):
        power, reciprocal = _inverse_powers(denominators[lane], beta, THREE_QUARTERS)
        scaled = gradients[lane] * power
        direct = direct + (scaled,)
        through = through + (scaled * activations[lane + HALF] * reciprocal,)
    sums = _window_sums(through, GROUP, SIZE)
    result = ()
    for lane in tl.static_range(GROUP):
        activation = activations[lane + 2 * HALF]
        gradient = direct[lane + HALF] - 2.0 * alpha * beta * activation * sums[lane]
        if RELU:
            gradient = tl.where(activation <= 0.0, 0.0, gradient)  # NaN passes, as in torch
        result = result + (gradient,)
    return result


@triton.jit
def _activations(
    pointer, position, inside, map_stride,
    CHANNELS_LAST: tl.constexpr, COLUMN: tl.constexpr, GROUP: tl.constexpr, RELU: tl.constexpr,
    HALO: tl.constexpr,
):  # fmt: skip
    """What normalisation sees of a group of maps and HALO more on either side, in float32."""
    maps = _load_maps(
        pointer, position, inside, map_stride, tl.float32, CHANNELS_LAST, COLUMN, GROUP, HALO
    )
    if RELU:
        activations = ()
        for lane in tl.static_range(GROUP + 2 * HALO):
            activation = tl.maximum(maps[lane], 0.0, propagate_nan=tl.PropagateNan.ALL)
            activations = activations + (activation,)
        return activations
    else:
        return maps


@triton.jit
def _denominators(activations, alpha, k, COUNT: tl.constexpr, SIZE: tl.constexpr):
    """k + alpha * sum of squares over the window, COUNT of them."""
    squares = ()
    for lane in tl.static_range(COUNT + SIZE - 1):
        squares = squares + (activations[lane] * activations[lane],)
    sums = _window_sums(squares, COUNT, SIZE)
    denominators = ()
    for lane in tl.static_range(COUNT):
        denominators = denominators + (k + alpha * sums[lane],)
    return denominators


@triton.jit
def _window_sums(values, COUNT: tl.constexpr, SIZE: tl.constexpr):
    """COUNT sums of SIZE adjacent values each."""
    sums = ()
    for lane in tl.static_range(COUNT):
        total = values[lane]
        for offset in tl.static_range(1, SIZE):
            total += values[lane + offset]
        sums = sums + (total,)
    return sums


@triton.jit
def _inverse_powers(denominator, beta, THREE_QUARTERS: tl.constexpr):
    """denominator ^ -beta and denominator ^ -1; for the paper's 3/4 both from two roots."""
    if THREE_QUARTERS:
        inverse_root = tl.rsqrt(denominator)
        return inverse_root * tl.sqrt(inverse_root), inverse_root * inverse_root
    else:
        return tl.exp2(-beta * tl.log2(denominator)), 1.0 / denominator


@triton.jit
def _decode(
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
def _origin(image, first_map, pixels, MAPS: tl.constexpr, CHANNELS_LAST: tl.constexpr):
    """Offset of an image's first pixel of a map; 64 bits, because a batch may exceed 32."""
    if CHANNELS_LAST:
        return image.to(tl.int64) * pixels * MAPS + first_map
    else:
        return (image.to(tl.int64) * MAPS + first_map) * pixels


@triton.jit
def _load_maps(
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
def _store_maps(
    pointer, maps, inside, map_stride, CHANNELS_LAST: tl.constexpr, GROUP: tl.constexpr
):
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
