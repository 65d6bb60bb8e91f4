"""The short measurement behind `alexnet plan --devices`: how fast this machine computes and sends.

Computation: steps of two sizes on one process, and the update alone; on a CPU also on two
processes at once, which share the cores. Traffic: an exchange of two sizes and a sum of gradients
between two processes on this machine.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.distributed as dist
import torch.nn.functional as F

from alexnet.bench.turns import our_network
from alexnet.config import OptimizerConfig
from alexnet.model.network import AlexNet
from alexnet.model.variants import Variant
from alexnet.parallel.exchange import Link, gather_rows
from alexnet.parallel.launch import run_together
from alexnet.parallel.world import World, finish, make_world
from alexnet.planning.scaling import Machine, Wire
from alexnet.process import cores
from alexnet.training.optimizer import build_optimizer

_SMALL, _LARGE = 8, 32  # images
_EXCHANGE_BYTES = (1 << 12, 1 << 23)
_SUM_BYTES = 1 << 26
_REPEATS = 3


def measure_machine(variant: Variant, num_classes: int, world: World) -> Machine:
    """What one process of this machine does with a variant."""
    model = our_network(variant, world, num_classes)
    optimizer = build_optimizer(model, OptimizerConfig(lr=1e-6))
    parameters = sum(p.numel() for p in model.parameters())
    small, large = (_passes(model, count, world) for count in (_SMALL, _LARGE))
    update = _timed(optimizer.step, world.device)
    image = max(1e-9, (large - small) / (_LARGE - _SMALL))
    machine = Machine(
        image_seconds=image,
        step_seconds=max(0.0, small - _SMALL * image),
        update_seconds=update / parameters,
    )
    if world.device.type != "cpu":
        return machine
    shared = run_together(_sharing, 2, variant, num_classes, world.precision)
    return replace(machine, cores=cores(), doubling=shared / large)


def measure_wire(device: str = "cpu") -> Wire:
    """What carries bytes between two processes of this machine."""
    latency, exchange, total = run_together(_traffic, 2, device)
    return Wire(latency, exchange, total, overlap=0.0 if device == "cpu" else 1.0)


def _sharing(variant: Variant, num_classes: int, precision: str) -> float:
    """Seconds of forward and backward in a process that shares the cores with another."""
    world = make_world("cpu", precision)
    model = our_network(variant, world, num_classes)
    dist.barrier()
    return _passes(model, _LARGE, world)


def _passes(model: AlexNet, count: int, world: World) -> float:
    """Seconds of forward and backward for so many images."""
    side = model.variant.image_size
    images = torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    labels = torch.zeros(count, dtype=torch.int64, device=world.device)
    images = images.to(world.device)

    def run() -> None:
        with world.autocast():
            logits = model(images)
        model.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]

    return _timed(run, world.device)


def _timed(run: Callable[[], object], device: torch.device) -> float:
    run()
    seconds = []
    for _ in range(_REPEATS):
        finish(device)
        began = time.perf_counter()
        run()
        finish(device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _traffic(device: str) -> tuple[float, float, float]:
    """Latency of an exchange, and bytes a second of exchanges and of sums."""
    world = make_world(device, "fp32")
    group = dist.group.WORLD
    assert group is not None
    link = Link(group, world.rank, world.size)
    times = []
    for count in _EXCHANGE_BYTES:
        x = torch.zeros(1, count // 4, device=world.device)
        times.append(_timed(lambda x=x: gather_rows(x, link), world.device))  # type: ignore[misc]
    latency = times[0]
    per_byte = max(1e-12, (times[1] - times[0]) / (_EXCHANGE_BYTES[1] - _EXCHANGE_BYTES[0]))
    gradients = torch.zeros(_SUM_BYTES // 4, device=world.device)
    summing = _timed(lambda: dist.all_reduce(gradients), world.device)
    sent = 2 * (world.size - 1) / world.size * _SUM_BYTES
    return latency, 1.0 / per_byte, sent / summing
