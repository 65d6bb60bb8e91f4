"""What a run was made with: versions and hardware, for `environment.json`."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy
import PIL
import torch

import alexnet
from alexnet.parallel.world import World


def describe_environment(world: World) -> dict[str, Any]:
    """Versions, hardware and precision, as plain JSON values. Names no person and no host."""
    return {
        "alexnet": alexnet.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "vectors": torch.backends.cpu.get_cpu_capability(),  # AVX2, AVX512, …
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": _device(world.device),
        "precision": world.precision,
        "processes": world.size,
        "command": " ".join(["alexnet", *sys.argv[1:]]),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
