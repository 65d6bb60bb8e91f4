"""Peak memory of a training step, each network in a fresh process so that none sees another's.

The step is the second: it has beside it what the optimiser keeps of the first. On a processor: the
largest resident set above what the process held after a step of a tiny network (torch, its
libraries and threads). On CUDA: the most that torch's allocator gave out.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from alexnet.bench.measure import Row, row
from alexnet.bench.plain import plain_environment, stock_step
from alexnet.bench.turns import our_network, training_step
from alexnet.errors import UserError, last_line
from alexnet.model.changes import resized
from alexnet.model.variants import VARIANTS
from alexnet.parallel.heap import give_back_freed_memory
from alexnet.parallel.world import World, make_world

STOCK = "stock"
_BATCH = 128


@dataclass(frozen=True)
class Peak:
    """What a training step took, bytes."""

    bytes: int
    before: int  # held before the network was made, not counted above


def bench_memory(variant: str, peers: bool, world: World) -> list[Row]:
    """Peaks of a step of 128 images: weights, gradients, optimiser, activations, workspace."""
    ours = row(
        f"memory/{variant}",
        [training_peak(variant, _BATCH, world).bytes],
        "bytes",
        how=f"{world.precision}, batch {_BATCH}",
    )
    if not peers:
        return [ours]
    plain = replace(world, precision="fp32")
    stock = row(
        "memory/stock",
        [training_peak(STOCK, _BATCH, plain).bytes],
        "bytes",
        how=f"fp32, batch {_BATCH}",
    )
    return [replace(ours, ratios={stock.name: ours.value / stock.value}), stock]


def training_peak(network: str, batch_size: int, world: World, width: float = 1.0) -> Peak:
    """Measure a step of a variant, or of the stock translation, in a process of its own.

    Raises:
        UserError: the process failed, such as for want of memory.
    """
    line = [network, str(batch_size), world.device.type, world.precision, str(width)]
    done = subprocess.run(
        [sys.executable, "-m", "alexnet.bench.peak", *line],
        capture_output=True,
        text=True,
        env=plain_environment() if _is_plain(network, world.device.type) else None,
    )
    if done.returncode:
        reason = last_line(done.stderr) or "it was killed"
        raise UserError(f"no step of {network} with batches of {batch_size} could be run: {reason}")
    return Peak(**json.loads(done.stdout))


def _measure(network: str, batch_size: int, world: World, width: float) -> Peak:
    tiny = resized(VARIANTS["paper"], 1 / 32, 64)
    training_step(our_network(tiny, world), world, 2, image_size=64)()
    if network != STOCK:
        our_network(resized(VARIANTS[network], width), world)  # measures its forms, if to be done
    give_back_freed_memory()  # or the step would use it and seem to need less
    before = _restart(world.device)
    step = (
        stock_step("train", world, batch_size)
        if network == STOCK
        else _ours(network, batch_size, world, width)
    )
    step()  # tries kernels, whose workspaces do not count, and makes what the optimiser keeps
    _restart(world.device)
    step()
    return Peak(_highest(world.device) - before, before)


def _ours(network: str, batch_size: int, world: World, width: float) -> Callable[[], None]:
    variant = resized(VARIANTS[network], width)
    model = our_network(variant, world)
    return training_step(model, world, batch_size, image_size=variant.image_size)


def _restart(device: torch.device) -> int:
    """Forget the highest mark so far; returns the bytes held now."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _highest(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise UserError("this system does not tell how much memory a process has used")


def _is_plain(network: str, device: str) -> bool:
    """The stock translation has the C library's own ways on a processor; they cost less memory."""
    return network == STOCK and device == "cpu"


def _main(network: str, batch_size: str, device: str, precision: str, width: str) -> None:
    plain = _is_plain(network, device)
    world = World(0, 1, torch.device(device), precision) if plain else make_world(device, precision)
    peak = _measure(network, int(batch_size), world, float(width))
    print(json.dumps({"bytes": peak.bytes, "before": peak.before}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
