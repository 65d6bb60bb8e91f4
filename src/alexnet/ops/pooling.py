"""How many windows of pooling there are."""


def pooled_side(side: int, window: int, stride: int, ceil_mode: bool) -> int:
    """Windows along a side by torch's rule: the last may hang over, but must begin inside.

    Raises:
        ValueError: not even one window fits.
    """
    free = side - window
    if free < 0 and not ceil_mode:
        raise ValueError(f"a window of {window} does not fit into {side} pixels")
    if not ceil_mode:
        return free // stride + 1
    count = -(-free // stride) + 1
    return count - 1 if (count - 1) * stride >= side else count
