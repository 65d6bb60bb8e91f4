"""The installation: judged from facts, so that machines that are not there can be judged too."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet.doctor.installation import examine_installation, judge_installation

HEALTHY: dict[str, Any] = {
    "torch": "2.13.0+cu130",
    "torch_cuda": "13.0",
    "nvidia_device": True,
    "cuda_usable": True,
    "cores_allowed": 8,
    "threads": 8,
    "threads_limited": False,
    "free_memory_bytes": 16 * 2**30,
    "free_disk_bytes": 100 * 2**30,
}
_NO_GPU = {"nvidia_device": False, "cuda_usable": False, "torch_cuda": None}


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"torch": "2.9.1"}, "old-torch", "2.9.1"),
        ({"cuda_usable": False, "torch_cuda": None}, "gpu-unused", "built without CUDA"),
        ({"cuda_usable": False}, "gpu-unused", "driver is too old"),
        ({**_NO_GPU, "threads": 1, "threads_limited": True}, "idle-cores", "1 of 8"),
        ({"free_memory_bytes": 2**30}, "little-memory", "1.0 GiB"),
        ({"free_disk_bytes": 2**30}, "little-disk", "1.0 GiB"),
    ],
)
def test_each_fault_is_named_alone(changes: dict[str, Any], name: str, words: str) -> None:
    (finding,) = judge_installation({**HEALTHY, **changes})
    assert finding.name == name
    assert words in finding.cause


def test_the_healthy_are_left_in_peace() -> None:
    assert judge_installation(HEALTHY) == []
    assert judge_installation({**HEALTHY, **_NO_GPU}) == []
    # Of two halves of each core torch takes one by itself.
    assert judge_installation({**HEALTHY, **_NO_GPU, "threads": 4}) == []


def test_this_installation_has_all_facts(tmp_path: Path) -> None:
    diagnosis = examine_installation(tmp_path)
    assert diagnosis.facts.keys() >= HEALTHY.keys()
    assert diagnosis.facts["numpy"] == np.__version__
    assert diagnosis.lines()
