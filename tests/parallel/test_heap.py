"""Freed memory stays with a process that computes on a processor."""

import platform
import subprocess
import sys

import pytest

# Ten activations of 20 MB a step. The C library alone keeps blocks of that size after the first
# step, but gives the system everything above twice 20 MB back.
_SCRIPT = """
import resource, sys
import torch
from alexnet.parallel.world import make_world

if sys.argv[1] == "kept":
    make_world("cpu", "fp32")

def steps(count):
    for _ in range(count):
        activations = [torch.ones(5 << 20) for _ in range(10)]
        del activations
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

before = steps(4)
print(steps(4) - before)
"""


def _new_pages(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", _SCRIPT, how], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library is told so")
def test_steps_of_training_touch_few_new_pages() -> None:
    left_alone = _new_pages("left alone")
    assert left_alone > 50_000
    assert _new_pages("kept") < left_alone / 10
