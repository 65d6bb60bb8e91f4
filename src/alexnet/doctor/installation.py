"""The installation: torch against the hardware, versions, threads, memory and disk."""

import importlib.metadata
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from alexnet.doctor.report import Diagnosis
from alexnet.findings import Finding
from alexnet.parallel.memory import available_bytes
from alexnet.parallel.world import has_bf16
from alexnet.process import cores

_OLDEST_TORCH = (2, 11)
_SMALL_MEMORY = 2 * 2**30  # bytes; training the full network takes about 1.5 GiB at batch 32
_SMALL_DISK = 3 * 2**30  # bytes; a run keeps two checkpoints of 490 MB and the best weights
_NVIDIA = (Path("/dev/nvidia0"), Path("/proc/driver/nvidia/version"))
_PACKAGES = ("alexnet", "numpy", "pillow", "pyarrow", "safetensors", "simplejpeg", "optuna")


def examine_installation(folder: Path | None = None) -> Diagnosis:
    """Look at this Python, its torch and this machine.

    Args:
        folder: where runs will be written; by default the current one.
    """
    facts = _facts(folder or Path.cwd())
    return Diagnosis("installation", facts, judge_installation(facts))


def judge_installation(facts: dict[str, Any]) -> list[Finding]:
    """What is wrong with an installation of these facts (those of `examine_installation`)."""
    findings = []
    version = tuple(int(part) for part in facts["torch"].split("+")[0].split(".")[:2])
    if version < _OLDEST_TORCH:
        findings.append(
            Finding(
                "old-torch",
                "error",
                f"torch {facts['torch']} is older than 2.11",
                "install a newer torch for your hardware",
            )
        )
    if facts["nvidia_device"] and not facts["cuda_usable"]:
        built = facts["torch_cuda"]
        cause = (
            f"torch is built for CUDA {built}, but finds no usable device: the driver is too old "
            "or the device hidden (CUDA_VISIBLE_DEVICES)"
            if built
            else "this torch is built without CUDA, and everything runs on the processor"
        )
        findings.append(
            Finding(
                "gpu-unused",
                "error",
                f"there is an NVIDIA device here, and {cause}",
                "install a CUDA build of torch that fits the driver (nvidia-smi shows its version)",
            )
        )
    # By itself torch may take a thread for each core, not for each of its two halves.
    limited = facts["threads_limited"] and facts["threads"] < facts["cores_allowed"]
    if limited and not facts["cuda_usable"]:
        findings.append(
            Finding(
                "idle-cores",
                "warning",
                f"torch uses {facts['threads']} of {facts['cores_allowed']} processor cores",
                "unset OMP_NUM_THREADS and MKL_NUM_THREADS, or set them to the number of cores",
            )
        )
    if facts["free_memory_bytes"] < _SMALL_MEMORY:
        findings.append(
            Finding(
                "little-memory",
                "warning",
                f"{facts['free_memory_bytes'] / 2**30:.1f} GiB of memory are free",
                "end other programs, or use a smaller --batch-size and data.pixels=stream",
            )
        )
    if facts["free_disk_bytes"] < _SMALL_DISK:
        findings.append(
            Finding(
                "little-disk",
                "warning",
                f"{facts['free_disk_bytes'] / 2**30:.1f} GiB are free where runs are written; "
                "a run of the full network takes 1.3",
                "free some space or choose another --out",
            )
        )
    return findings


def _facts(folder: Path) -> dict[str, Any]:
    usable = torch.cuda.is_available()
    device = "cuda" if usable else "cpu"
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "device": torch.cuda.get_device_name() if usable else "cpu",
        "nvidia_device": any(path.exists() for path in _NVIDIA),
        "cuda_usable": usable,
        "bf16": has_bf16(device),
        "cores_allowed": cores(),
        "threads": torch.get_num_threads(),
        "threads_limited": any(f"{name}_NUM_THREADS" in os.environ for name in ("OMP", "MKL")),
        "free_memory_bytes": available_bytes(torch.device("cpu")),
        "free_disk_bytes": shutil.disk_usage(folder).free,
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
