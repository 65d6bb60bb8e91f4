"""Freed memory stays with a process that computes on a processor."""

import platform
import subprocess
import sys

import pytest

_SCRIPT = """
import resource, sys
import torch
from alexnet.bench.turns import our_network, training_step
from alexnet.model.changes import resized
from alexnet.model.variants import VARIANTS
from alexnet.parallel.world import World, make_world

kept = sys.argv[1] == "kept"
world = make_world("cpu", "fp32") if kept else World(0, 1, torch.device("cpu"), "fp32")
variant = resized(VARIANTS["paper"], 1 / 8, 112)
step = training_step(our_network(variant, world), world, 64, image_size=112)
for _ in range(6):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(6):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _new_pages(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", _SCRIPT, how], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library is told so")
def test_steps_of_training_touch_few_new_pages() -> None:
    left_alone = _new_pages("left alone")
    assert left_alone > 1000
    assert _new_pages("kept") < left_alone / 10
