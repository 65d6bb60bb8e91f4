"""How many windows of pooling there are."""


def pooled_side(side: int, window: int, stride: int, ceil_mode: bool) -> int:
    """Windows along a side by torch's rule: the last may hang over, but must begin inside.

    Raises:
        ValueError: not even one window fits.
    """
    free = side - window
    count = (-(-free // stride) if ceil_mode else free // stride) + 1
    if (count - 1) * stride >= side:
        count -= 1
    if count < 1:
        raise ValueError(f"a window of {window} does not fit into {side} pixels")
    return count
