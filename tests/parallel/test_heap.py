"""Freed memory stays with a process that computes on a processor."""

import platform
import subprocess
import sys

import pytest

from alexnet.parallel import world

# Ten blocks a step, straight from the C library: what torch allocates beside its tensors could lie
# above them and keep the library from giving them back, now and then.
_SCRIPT = """
import ctypes, resource, sys
from alexnet.parallel.heap import keep_freed_memory

how, size = sys.argv[1], int(sys.argv[2]) << 20
if how != "left alone":
    keep_freed_memory(also_the_largest=how == "all")
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.malloc.argtypes = [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def steps(count):
    for _ in range(count):
        blocks = [library.malloc(size) for _ in range(10)]
        for block in blocks:
            library.memset(block, 1, size)
        for block in reversed(blocks):
            library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

before = steps(4)
print(steps(4) - before)
"""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only the GNU C library is told so"
)


def new_pages(how: str, megabytes: int) -> int:
    line = [sys.executable, "-c", _SCRIPT, how, str(megabytes)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("how", ["some", "all"])
def test_blocks_stay_and_are_not_touched_anew(how: str) -> None:
    assert new_pages("left alone", 20) > 50_000
    assert new_pages(how, 20) < 1000


def test_the_largest_stay_only_where_that_is_asked() -> None:
    assert new_pages("some", 40) > 50_000
    assert new_pages("all", 40) < 1000


def test_bfloat16_keeps_all(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, bool]] = []
    monkeypatch.setattr(world, "keep_freed_memory", lambda **given: asked.append(given))
    world.make_world("cpu", "fp32")
    world.make_world("cpu", "bf16")
    assert asked == [{"also_the_largest": False}, {"also_the_largest": True}]
