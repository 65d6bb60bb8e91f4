"""The kernels: ReLU, local response normalisation and max pooling, forward and backward.

A thread works on an *item*: a group of `GROUP` adjacent maps at one place, each held as a variable
of its own (a "lane"), so that a window across the maps is a sum of variables. In channels-last
memory a group is one load of 16 bytes, and the neighbours that a window needs are the groups
beside it; in contiguous memory adjacent threads read adjacent pixels of each map. Groups never
straddle a column, and maps outside the column read as zero.

"""

import triton
import triton.language as tl

from alexnet.ops.map_kernels import decode, load_maps, origin, store_maps


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
    image, first_map, strip, column = decode(item, strips, pooled_width, MAPS, GROUP, CHANNELS_LAST)
    image_x = x_pointer + origin(image, first_map, height * width, MAPS, CHANNELS_LAST)
    image_y = origin(image, first_map, pooled_height * pooled_width, MAPS, CHANNELS_LAST)
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
        store_maps(y_pointer + offset, best, inside, map_stride_y, CHANNELS_LAST, GROUP)
        if KEEP_WINNERS:
            store_maps(winner_pointer + offset, winner, inside, map_stride_y, CHANNELS_LAST, GROUP)
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
    image, first_map, cell_row, cell_column = decode(
        item, cell_rows, cell_columns, MAPS, GROUP, CHANNELS_LAST
    )
    image_x = origin(image, first_map, height * width, MAPS, CHANNELS_LAST)
    image_y = origin(image, first_map, pooled_height * pooled_width, MAPS, CHANNELS_LAST)
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
            store_maps(
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
            gradients = load_maps(
                gradient_y + offset, position, exists, map_stride, tl.float32,
                CHANNELS_LAST, COLUMN, GROUP, HALO,
            )  # fmt: skip
            if WINDOW == 1:
                totals = gradients
            else:
                winners = load_maps(
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
    maps = load_maps(
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
