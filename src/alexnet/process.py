"""What a process of this package may take of the machine, and how its threads wait."""

import os

SETTINGS = {
    "GOMP_SPINCOUNT": "1000",
    "OPENBLAS_NUM_THREADS": "1",  # NumPy's; our heavy products are torch's
}
"""Variables of the environment, set where the user has not set them."""


def set_up_process() -> None:
    """Set them; before torch and NumPy are imported, or without effect.

    Threads that spin until their turn starve each other as soon as anything else runs on the
    machine: 60 instead of 2,000 images/s, measured. Threads that sleep at once cost a quarter of
    the speed on a quiet one. A short spin before sleeping has most of both.
    """
    for name, value in SETTINGS.items():
        if name != "GOMP_SPINCOUNT" or "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault(name, value)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_each(processes: int) -> int:
    """Threads for each of so many processes that share this machine.

    Without it every one would start a thread for every core, and they would wait for each other.
    """
    return max(1, cores() // processes)
