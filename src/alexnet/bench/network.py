"""`alexnet bench train` and `infer`: how fast the network learns and answers, on synthetic images.

Every contender keeps its weights in float32. Ours and the one-tower net run at their best here:
channels-last, bfloat16 where the hardware has it. The stock translation runs as it is written.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.bench.measure import Contender, Row, interleaved
from alexnet.bench.stock import OnBytes, stock_translation
from alexnet.config import OptimizerConfig
from alexnet.model.forms import choose_forms, use_forms
from alexnet.model.network import AlexNet
from alexnet.model.variants import VARIANTS, Variant
from alexnet.parallel.world import World
from alexnet.training.optimizer import build_optimizer


@dataclass(frozen=True)
class NetworkPlan:
    """What to measure with.

    Attributes:
        variant: which of ours; its row is WHAT/VARIANT.
        peers: whether the stock translation and the one-tower net are measured too.
        batch_size: images in a step.
        steps: of each contender in a round.
        rounds: that count.
    """

    variant: str
    peers: bool
    batch_size: int
    steps: int
    rounds: int


def bench_training(plan: NetworkPlan, world: World) -> list[Row]:
    """Whole training steps: forward, backward, update. Images a second."""
    ours = VARIANTS[plan.variant]
    contenders = {f"train/{plan.variant}": _training(plan, world, _ours(ours, world))}
    if plan.peers:
        bare = replace(ours, order=tuple(stage for stage in ours.order if "norm" not in stage))
        contenders["train/without-normalization"] = _training(plan, world, _ours(bare, world))
        tower = _ours(VARIANTS["one-tower"], world)
        contenders["train/one-tower"] = _training(plan, world, tower)
        stock = OnBytes(stock_translation()).to(world.device)
        contenders["train/stock"] = _training(plan, replace(world, precision="fp32"), stock)
    return interleaved(contenders, plan.rounds, "images/s", against=[*contenders][1:])


def bench_inference(plan: NetworkPlan, world: World) -> list[Row]:
    """Answers to batches, images a second, and to single images, seconds."""
    networks: dict[str, tuple[nn.Module, World]] = {
        plan.variant: (_ours(VARIANTS[plan.variant], world), world)
    }
    if plan.peers:
        networks["one-tower"] = (_ours(VARIANTS["one-tower"], world), world)
        stock = OnBytes(stock_translation()).to(world.device)
        networks["stock"] = (stock, replace(world, precision="fp32"))
    batches = {
        f"infer/{name}": _answering(network, place, plan.batch_size, plan.steps)
        for name, (network, place) in networks.items()
    }
    single = {
        f"latency/{name}": _waiting(_answering(network, place, 1, 4 * plan.steps))
        for name, (network, place) in networks.items()
    }
    rows = interleaved(batches, plan.rounds, "images/s", against=[*batches][1:])
    return rows + interleaved(single, plan.rounds, "seconds", against=[*single][1:])


def bench_ceilings(rounds: int, world: World) -> list[Row]:
    """Matrix products of the size of the network's, the most any step could reach: FLOP/s."""
    contenders = {
        f"ceiling/matmul-{name}": _multiplying(dtype, world.device)
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }
    return interleaved(contenders, rounds, "FLOP/s")


def _ours(variant: Variant, world: World) -> AlexNet:
    model: AlexNet = AlexNet(variant).to(world.device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    dtype = torch.bfloat16 if world.precision == "bf16" else torch.float32
    use_forms(model, choose_forms(model, dtype))
    return model


def _training(plan: NetworkPlan, world: World, model: nn.Module) -> Contender:
    images, labels = _batch(plan.batch_size, world.device)
    optimizer: torch.optim.Optimizer = (
        build_optimizer(model, OptimizerConfig(lr=1e-6))
        if isinstance(model, AlexNet)
        else torch.optim.SGD(model.parameters(), 1e-6, momentum=0.9, weight_decay=5e-4)
    )

    def step() -> None:
        with world.autocast():
            logits = model(images)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return _speed(step, plan.steps, plan.batch_size, world.device)


def _answering(model: nn.Module, world: World, batch_size: int, steps: int) -> Contender:
    images, _ = _batch(batch_size, world.device)

    def step() -> None:
        model.eval()
        with torch.inference_mode(), world.autocast():
            model(images)

    return _speed(step, steps, batch_size, world.device)


def _waiting(speed: Contender) -> Contender:
    return lambda: 1.0 / speed()


def _multiplying(dtype: torch.dtype, device: torch.device) -> Contender:
    side = 8192 if device.type == "cuda" else 2048
    a = torch.randn(side, side, device=device).to(dtype)
    return _speed(lambda: a @ a, 4, 2 * side**3, device)


def _speed(step: Callable[[], object], steps: int, units: int, device: torch.device) -> Contender:
    def measure() -> float:
        _wait_for(device)
        began = time.perf_counter()
        for _ in range(steps):
            step()
        _wait_for(device)
        return steps * units / (time.perf_counter() - began)

    return measure


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _batch(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 224, 224, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 1000, (count,), generator=generator)
    return images.permute(0, 3, 1, 2).to(device), labels.to(device)
