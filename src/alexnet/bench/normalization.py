"""ReLU, normalisation and pooling alone, forward and backward, on the shapes of the network."""

import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.bench.measure import Contender, Row, interleaved
from alexnet.ops import Stage, run_stage
from alexnet.parallel.world import World, finish

_SHAPES = {"1": (96, 55, 55), "2": (256, 27, 27)}  # what conv1 and conv2 hand on
_STAGE = Stage(size=5, columns=2, window=3)


def bench_normalization(world: World, rounds: int) -> list[Row]:
    """Images a second through each stage, ours and torch's own three operations.

    Ours runs in channels-last and keeps the columns apart; torch's, which has no columns, is timed
    in the format it is written for, contiguous, and in channels-last. All in the precision of the
    world. Rows: norm/ours-1, norm/stock-1, norm/stock-channels-last-1, and the same for stage 2.
    """
    images, repetitions = (512, 20) if world.device.type == "cuda" else (16, 2)
    stock = partial(_stock, world)
    rows: list[Row] = []
    for stage, shape in _SHAPES.items():
        x = _activations(images, shape, world)
        last = x.to(memory_format=torch.channels_last)
        contenders = {
            f"norm/ours-{stage}": _speed(_ours, last, repetitions),
            f"norm/stock-{stage}": _speed(stock, x, repetitions),
            f"norm/stock-channels-last-{stage}": _speed(stock, last, repetitions),
        }
        rows += interleaved(contenders, rounds, "images/s", against=[*contenders][1:])
    return rows


def _ours(x: Tensor) -> Tensor:
    return run_stage(x, _STAGE)


def _stock(world: World, x: Tensor) -> Tensor:
    with world.autocast():  # torch's sum over a window has no bfloat16 on a processor
        # torch divides alpha by the window's size: 5e-4 is the paper's 1e-4.
        y = F.local_response_norm(F.relu(x), 5, alpha=5e-4, beta=0.75, k=2.0)
        return F.max_pool2d(y, 3, 2, ceil_mode=True)


def _activations(images: int, shape: tuple[int, int, int], world: World) -> Tensor:
    dtype = world.dtype
    generator = torch.Generator().manual_seed(0)
    noise = 50.0 * torch.randn(images, *shape, generator=generator)
    return noise.to(world.device, dtype)


def _speed(stage: Callable[[Tensor], Tensor], x: Tensor, repetitions: int) -> Contender:
    x = x.detach().requires_grad_()
    gradient = torch.ones_like(stage(x))

    def measure() -> float:
        finish(x.device)
        began = time.perf_counter()
        for _ in range(repetitions):
            torch.autograd.grad(stage(x), x, gradient)
        finish(x.device)
        return repetitions * len(x) / (time.perf_counter() - began)

    return measure
