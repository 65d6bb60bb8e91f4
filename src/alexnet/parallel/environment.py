"""What a run was made with: versions, hardware, commit and day, for `environment.json`."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import PIL
import torch

import alexnet
from alexnet.parallel.world import World


def describe_environment(world: World) -> dict[str, Any]:
    """Versions, hardware and precision, as plain JSON values.

    No person and no host is asked for; the command is as it was typed, with its paths.
    """
    return {
        "alexnet": alexnet.__version__,
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
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


def _commit() -> str | None:
    """The commit of this source, with "-dirty" where files differ from it.

    None where the package does not lie in its repository; a virtual environment within another
    project's does not either.
    """

    def git(*arguments: str) -> str:
        command = ("git", "-C", str(Path(alexnet.__file__).parent), *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if not git("ls-files", "__init__.py"):
            return None
        return git("describe", "--always", "--dirty", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
