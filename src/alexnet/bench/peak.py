"""Peak memory of training steps, each network in a fresh process so that none sees another's.

On a processor: the largest resident set above what the process held after a step of a tiny network
(torch, its libraries and threads). On CUDA: the most that torch's allocator gave out.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from alexnet.bench.measure import Row, row
from alexnet.bench.peers import OnBytes, stock_translation
from alexnet.bench.turns import our_network, training_step
from alexnet.errors import UserError
from alexnet.model.changes import resized
from alexnet.model.variants import VARIANTS, Variant
from alexnet.parallel.world import World, make_world

STOCK = "stock"
_BATCH = 128
_STEPS = 2  # the second has the optimiser's memory of the first beside it


@dataclass(frozen=True)
class Peak:
    """What a few training steps took, bytes."""

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


def training_peak(
    network: str, batch_size: int, world: World, image_size: int = 224, width: float = 1.0
) -> Peak:
    """Measure a few steps of a variant, or of the stock translation, in a process of its own.

    Raises:
        UserError: the process failed, such as for want of memory.
    """
    line = [network, str(batch_size), world.device.type, world.precision]
    done = subprocess.run(
        [sys.executable, "-m", "alexnet.bench.peak", *line, str(image_size), str(width)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = "".join(done.stderr.strip().splitlines()[-1:]) or "it was killed"
        raise UserError(f"no step of {network} with batches of {batch_size} could be run: {reason}")
    return Peak(**json.loads(done.stdout))


def _measure(network: str, batch_size: int, world: World, size: int, width: float) -> Peak:
    _steps(_network(VARIANTS["paper"], 64, 1 / 32, world), 2, world, 64)
    if network != STOCK:
        _network(VARIANTS[network], size, width, world)  # measures its forms, if that is to do
    before = _restart(world.device)
    if network == STOCK:
        model: nn.Module = OnBytes(stock_translation())
    else:
        model = _network(VARIANTS[network], size, width, world)
    _steps(model.to(world.device), batch_size, world, size, contiguous=network == STOCK)
    return Peak(_highest(world.device) - before, before)


def _network(variant: Variant, size: int, width: float, world: World) -> nn.Module:
    return our_network(resized(variant, width, size), world)


def _steps(
    model: nn.Module, batch_size: int, world: World, size: int, contiguous: bool = False
) -> None:
    model = model.to(world.device)
    step = training_step(model, world, batch_size, contiguous=contiguous, image_size=size)
    for _ in range(_STEPS):
        step()


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


def _main(network: str, batch_size: str, device: str, precision: str, size: str, wide: str) -> None:
    # The stock translation with the C library's own ways, which cost it less memory.
    stock = World(0, 1, torch.device(device), precision)
    world = stock if network == STOCK else make_world(device, precision)
    peak = _measure(network, int(batch_size), world, int(size), float(wide))
    print(json.dumps({"bytes": peak.bytes, "before": peak.before}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
