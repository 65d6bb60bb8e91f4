"""How this process gives memory back to the system: not while it computes on a processor."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of the GNU C library
_LARGE = 32 << 20  # bytes, the most that the library allows


def keep_freed_memory() -> None:
    """Let memory that is freed stay with the process, for the next step of the same size.

    The C library maps every large block anew and unmaps it when it is freed, so that each step of
    training touches each page of its activations for the first time: the system's work on that
    took 9 to 18 % of a step (log, "Pages that are touched for the first time"). What a step needs
    at its peak, the process keeps, but for the very largest blocks: smaller ones would settle in
    the gaps between them, and the heap would grow by up to a quarter. Does nothing where the C
    library is another one.
    """
    _ask("mallopt", _M_MMAP_THRESHOLD, _LARGE)
    _ask("mallopt", _M_TRIM_THRESHOLD, -1)


def give_back_freed_memory() -> None:
    """Let the system have what is free now, so that what is held can be measured."""
    _ask("malloc_trim", 0)


def _ask(function: str, *arguments: int) -> None:
    try:
        of_library = getattr(ctypes.CDLL(None), function)
    except (AttributeError, OSError, TypeError):
        return
    of_library(*arguments)
