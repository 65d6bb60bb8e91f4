"""Which device a further process is to use."""

import os

import torch


def visible_device(number: int) -> str | None:
    """CUDA_VISIBLE_DEVICES for the process of that number: the devices in turn.

    Those are the devices that this process sees, whether all of the machine or what its own
    CUDA_VISIBLE_DEVICES leaves.

    Returns:
        None where there are fewer than two, and nothing is to be divided.
    """
    count = torch.cuda.device_count()
    if count < 2:
        return None
    inherited = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = inherited.split(",") if inherited else [str(device) for device in range(count)]
    return names[number % count].strip()


def devices_for(processes: int, kind: str) -> int:
    """How many devices so many processes have between them: on the processor they share its cores.

    Args:
        processes: how many, which use the visible devices in turn.
        kind: "auto", "cpu" or "cuda", as in a configuration.
    """
    return 1 if kind == "cpu" else max(1, min(processes, torch.cuda.device_count()))
