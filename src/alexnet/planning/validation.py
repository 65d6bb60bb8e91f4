"""`alexnet bench scaling`: whole training steps under every layout, measured and predicted.

The processes are started by torchrun's own library on this machine. One process with all cores is
measured in the same rounds; everything else is a ratio to it. The model of `scaling.py` is
calibrated before, and its predictions stand beside.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F

from alexnet.bench.measure import Row, row
from alexnet.bench.turns import usual_batch_size
from alexnet.config import OptimizerConfig
from alexnet.model.catalog import imagenet_variant
from alexnet.model.forms import choose_forms, use_forms
from alexnet.model.network import AlexNet
from alexnet.model.variants import Variant
from alexnet.parallel.launch import run_together
from alexnet.parallel.layouts import place
from alexnet.parallel.memory import resident_bytes
from alexnet.parallel.volume import possible_layouts
from alexnet.parallel.world import World, finish, make_world
from alexnet.planning.calibration import measure_machine, measure_wire
from alexnet.planning.scaling import Work, predict
from alexnet.process import threads_each
from alexnet.progress import say
from alexnet.training.optimizer import build_optimizer


@dataclass(frozen=True)
class Job:
    """A few steps of one layout.

    Attributes:
        layout: of `parallel.layouts`.
        processes: how many.
        variant: which network.
        batch_size: images of all processes in a step.
        steps: that are timed, after one that is not.
        device, precision: where and how.
    """

    layout: str
    processes: int
    variant: str
    batch_size: int
    steps: int
    device: str
    precision: str


def bench_scaling(
    variant: str,
    batch_size: int | None,
    steps: int | None,
    rounds: int,
    world: World,
    processes: Sequence[int] = (1, 2, 4),
) -> list[Row]:
    """Seconds of a step, bytes sent and bytes held, for each layout and number of processes.

    A batch size of None is 64 on a processor and 1024 on a GPU; steps of None are 2.

    Raises:
        UserError: no such variant for ImageNet.
    """
    chosen = imagenet_variant(variant)
    batch_size = batch_size or usual_batch_size(world)
    steps = steps or 2
    blank = Job("one", 1, variant, batch_size, steps, world.device.type, world.precision)
    jobs = [
        replace(blank, layout=layout, processes=count)
        for count in processes
        for layout in possible_layouts(chosen, count)
    ]
    predictions = _predictions(chosen, jobs, world)
    figures: dict[str, list[dict[str, float]]] = {}
    for number in range(rounds):
        for job in jobs:
            figure = run_together(_measure, job.processes, job)
            name = f"{job.layout}-{job.processes}"
            figures.setdefault(name, []).append(figure)
            say(f"round {number + 1}: {name} {figure['seconds']:.3f} s")
    alone = [figure["seconds"] for figure in figures["one-1"]]
    rows = []
    for name, measured in figures.items():
        seconds = [figure["seconds"] for figure in measured]
        ratios = [a / b for a, b in zip(seconds, alone, strict=True)]
        against = {} if name == "one-1" else {"scaling/one-1": statistics.median(ratios)}
        rows.append(row(f"scaling/{name}", seconds, "seconds", against))
        made = predictions[name]
        over = {f"scaling/{name}": made / statistics.median(seconds)}
        rows.append(row(f"scaling-predicted/{name}", [made], "seconds", over))
        for what in ("sent", "held", "resident"):
            values = [figure[what] for figure in measured]
            rows.append(row(f"scaling-{what}/{name}", values, "bytes"))
    return rows


def _predictions(chosen: Variant, jobs: Sequence[Job], world: World) -> dict[str, float]:
    """Seconds of a step by the calibrated model, by name of the job."""
    machine, wire = measure_machine(chosen, 1000, world), measure_wire(world.device.type)
    say(f"calibrated: {machine}, {wire}")
    work = Work(chosen, 1000, jobs[0].batch_size, 2 if world.precision == "bf16" else 4)
    return {
        f"{job.layout}-{job.processes}": predict(
            machine, wire, work, job.layout, job.processes
        ).seconds
        for job in jobs
    }


def _measure(job: Job) -> dict[str, float]:
    """In each of the job's processes, which are new: what they hold is of this layout alone."""
    torch.set_num_threads(threads_each(job.processes))
    world = make_world(job.device, job.precision)
    before = resident_bytes()
    placed = place(AlexNet(job.variant), job.layout, world, job.batch_size)
    chosen = choose_forms(placed.convolutions, world.dtype) if world.is_first else None
    use_forms(placed.convolutions, world.tell(chosen))
    optimizer = build_optimizer(placed.parts, OptimizerConfig(lr=1e-6), placed.model_group)
    placed.module.train()
    own = -(-job.batch_size // placed.slice_count)
    generator = torch.Generator().manual_seed(world.rank)
    side = placed.outline.variant.image_size
    pixels = torch.randint(0, 256, (own, side, side, 3), dtype=torch.uint8, generator=generator)
    images = pixels.permute(0, 3, 1, 2).to(world.device)
    labels = torch.randint(0, 1000, (own,), generator=generator).to(world.device)
    keys = torch.randint(2**32, (own, 2), generator=generator).to(world.device)

    def step() -> None:
        with world.autocast():
            logits = placed.module(images, keys)
        loss = F.cross_entropy(logits.float(), labels, reduction="sum") / job.batch_size
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    sent = placed.link.sent_bytes if placed.link else 0
    _meet(world.device)
    began = time.perf_counter()
    for _ in range(job.steps):
        step()
    _meet(world.device)
    seconds = (time.perf_counter() - began) / job.steps
    held = sum(part.parameter.numel() * part.parameter.element_size() for part in placed.parts)
    held += sum(_bytes(state) for state in optimizer.state.values())
    return {
        "seconds": seconds,
        "sent": float(sent),
        "held": float(held),
        "resident": float(resident_bytes() - before),
    }


def _bytes(state: dict[str, Any]) -> int:
    tensors = [value for value in state.values() if isinstance(value, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _meet(device: torch.device) -> None:
    finish(device)
    if dist.is_initialized():
        dist.barrier()
