"""How long a user waits for the first training step, from starting the command."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from alexnet.bench.measure import Row, row
from alexnet.errors import UserError, last_line
from alexnet.parallel.world import World
from alexnet.progress import say

_LIMIT = 300.0  # seconds
# Where what is made at the first start is kept for the next: ours, Triton's, torch's.
_CACHES = ("ALEXNET_CACHE", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TORCH_EXTENSIONS_DIR")


def bench_start(variant: str, batch_size: int, rounds: int, world: World) -> list[Row]:
    """Seconds until one step on the digits is done: with empty caches, then with full ones."""
    how = f"{world.precision}, batch {batch_size}"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environment = os.environ | {name: str(folder / name.lower()) for name in _CACHES}
        seconds = [
            first_step(folder / f"run{number}", variant, batch_size, world, environment)
            for number in range(1 + min(rounds, 3))
        ]
    rows = [
        row("start/first-step", seconds[1:], "seconds", how=f"{how}, caches full"),
        row("start/first-step-cold", seconds[:1], "seconds", how=f"{how}, caches empty"),
    ]
    for entry in rows:
        say(f"{entry.name}: {entry.value:.2f} seconds")
    return rows


def first_step(
    out: Path, variant: str, batch_size: int, world: World, environment: dict[str, str]
) -> float:
    """Seconds from starting `alexnet train digits` until the first step's row is in its log."""
    line = [sys.executable, "-m", "alexnet", "train", "digits", "--steps", "1"]
    line += ["--variant", variant, "--batch-size", str(batch_size), "--out", str(out)]
    line += ["--device", world.device.type, "--precision", world.precision]
    log = out / "metrics.jsonl"
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(line, env=environment, stdout=said, stderr=said)
        try:
            while not (log.exists() and log.stat().st_size):
                if process.poll() is not None:
                    said.seek(0)
                    raise UserError(f"the first step was not reached: {last_line(said.read())}")
                if time.perf_counter() - began > _LIMIT:
                    raise UserError(f"the first step was not reached within {_LIMIT:.0f} s")
                time.sleep(0.01)
            return time.perf_counter() - began
        finally:
            process.kill()
            process.wait()
