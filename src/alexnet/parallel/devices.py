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
