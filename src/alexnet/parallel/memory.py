"""How much memory there is to put pixels into."""

import os
from pathlib import Path

import torch

from alexnet.parallel.container import allowed_bytes
from alexnet.parallel.world import started_local_size

# Shares of the free memory that pixels may take; the rest is for the network, or everyone else.
_DEVICE_SHARE = 0.85
_HOST_SHARE = 0.6


def device_budget(device: torch.device) -> int:
    """Bytes on an accelerator that pixels may take; 0 for the processor itself."""
    if device.type != "cuda":
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    sharing = -(-started_local_size() // torch.cuda.device_count())
    return int(free * _DEVICE_SHARE) // sharing


def host_budget() -> int:
    """Bytes of host memory that pixels may take in this process, one of several on the machine."""
    free = available_bytes(torch.device("cpu"))
    return int(free * _HOST_SHARE) // started_local_size()


def available_bytes(device: torch.device) -> int:
    """Memory that is free now: the device's own, or the host's as far as a container has it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free, allowed = _free_on_host(), allowed_bytes()
    return free if allowed is None else min(free, allowed)


def _free_on_host() -> int:
    information = Path("/proc/meminfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Physical memory that this process holds now; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return 0
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
