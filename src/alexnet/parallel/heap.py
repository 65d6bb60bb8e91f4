"""How this process gives memory back to the system: not while it computes on a processor."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # malloc.h of the GNU C library
_LARGE = 32 << 20  # bytes, the most that the library allows as a threshold


def keep_freed_memory(also_the_largest: bool) -> None:
    """Let memory that is freed stay with the process, for the next step of the same size.

    The C library maps every large block anew and unmaps it when it is freed, so that each step of
    training touches each page of its activations for the first time: the system's work on that
    took 9 to 18 % of a step (log, "Pages that are touched for the first time"). What a step needs
    at its peak, the process keeps. Does nothing where the C library is another one.

    Args:
        also_the_largest: blocks above 32 MB, too. They are the gradients of fc6 and fc7: given
            back, they cost 12 % of a step in bfloat16 and 4 % in float32; kept, smaller blocks
            settle in the gaps between them and the heap grows by 5 to 25 %.
    """
    _ask("mallopt", _M_MMAP_THRESHOLD, _LARGE)
    _ask("mallopt", _M_TRIM_THRESHOLD, -1)
    if also_the_largest:
        _ask("mallopt", _M_MMAP_MAX, 0)


def give_back_freed_memory() -> None:
    """Let the system have what is free now, so that what is held can be measured."""
    _ask("malloc_trim", 0)


def _ask(function: str, *arguments: int) -> None:
    try:
        of_library = getattr(ctypes.CDLL(None), function)
    except (AttributeError, OSError, TypeError):
        return
    of_library(*arguments)
