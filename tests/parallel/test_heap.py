"""Freed memory stays with a process that computes on a processor."""

import platform
import subprocess
import sys

import pytest

_SCRIPT = """
import resource
import torch
from alexnet.parallel.world import make_world

make_world("cpu", "fp32")
faults = []
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(16 * 2**20).fill_(1.0)  # 64 MiB: more than the C library ever keeps by itself
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(*faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library is told so")
def test_a_block_of_the_same_size_touches_no_new_pages() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, *later = map(int, done.stdout.split())
    assert first > 100  # pages of 4 KiB, or larger ones
    # The first few leave splinters of their alignment behind, which the C library collects by
    # sevens and does not join; then the same pages serve again and again.
    assert max(later[-5:]) < first / 10
