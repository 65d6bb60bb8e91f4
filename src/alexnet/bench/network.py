"""`alexnet bench train` and `infer`: how fast the network learns and answers, on synthetic images.

Our weights stay in float32 while training. The one-tower net runs at its best: the fastest of the
ways in `best.py`. The stock translation runs as it is written, and once more in bfloat16.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from alexnet.bench.best import Way, best_inference, best_training, compiled, tuned
from alexnet.bench.ceilings import inference_operations, matmul_ceiling, training_operations
from alexnet.bench.measure import Contender, Row, Share, interleaved
from alexnet.bench.onnx_runtime import onnx_runtime
from alexnet.bench.peers import OnBytes, stock_translation
from alexnet.bench.turns import (
    Turn,
    answering_step,
    our_network,
    synthetic_batch,
    training_step,
)
from alexnet.evaluation.inference import answering
from alexnet.model.layers import Layer, layer_table
from alexnet.model.network import AlexNet
from alexnet.model.variants import VARIANTS, Variant
from alexnet.parallel.world import World


@dataclass(frozen=True)
class NetworkPlan:
    """What to measure with.

    Attributes:
        variant: which of ours; its row is WHAT/VARIANT.
        peers: whether what others offer is measured too.
        batch_size: images in a step.
        steps: of each contender in a round; None: as many as take a second.
        rounds: that count.
    """

    variant: str
    peers: bool
    batch_size: int
    steps: int | None
    rounds: int


def bench_training(plan: NetworkPlan, world: World) -> list[Row]:
    """Whole training steps: forward, backward, update. Images a second."""
    ours = VARIANTS[plan.variant]
    ways: dict[str, Way | None] = {f"train/{plan.variant}": _learning(ours, world, plan)}
    if plan.peers:
        bare = replace(ours, order=tuple(stage for stage in ours.order if "norm" not in stage))
        if bare != ours:
            ways["train/without-normalization"] = _learning(bare, world, plan)
        ways["train/one-tower"] = best_training(world, plan.batch_size)
        ways["train/one-tower-compiled"] = compiled("train", world, plan.batch_size)
        ways["train/stock"] = _stock(training_step, replace(world, precision="fp32"), plan)
        if world.precision == "bf16":
            ways["train/stock-bf16"] = _stock(training_step, world, plan)
    return _measure(ways, plan, world, plan.batch_size, training_operations)


def bench_inference(plan: NetworkPlan, world: World) -> list[Row]:
    """Answers to batches, images a second, and to single images, seconds."""
    rows = _measure(
        _answers(plan, world, "infer"), plan, world, plan.batch_size, inference_operations
    )
    single = replace(plan, batch_size=1)
    return rows + _waits(_answers(single, world, "latency"), single, world)


def _learning(variant: Variant, world: World, plan: NetworkPlan) -> Way:
    step = training_step(our_network(variant, world), world, plan.batch_size)
    return Way(step, f"{world.precision}, channels last")


def _answering(model: AlexNet, world: World, plan: NetworkPlan) -> Way:
    """As `predict` and `eval` answer."""
    images, _ = synthetic_batch(plan.batch_size, world.device)
    answer = answering(model, world)
    return Way(lambda: answer(images), f"{world.precision}, channels last")


def _stock(make: Callable[..., Callable[[], None]], world: World, plan: NetworkPlan) -> Way:
    """The stock translation: as written in float32, channels last in bfloat16."""
    model: nn.Module = OnBytes(stock_translation()).to(world.device)
    if world.precision == "fp32":
        return Way(make(model, world, plan.batch_size, contiguous=True), "fp32, as written")
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Way(tuned(make(model, world, plan.batch_size), world), "bf16, channels last")


def _answers(plan: NetworkPlan, world: World, what: str) -> dict[str, Way | None]:
    """Every network that answers, by row name."""
    model = AlexNet(VARIANTS[plan.variant])
    ways: dict[str, Way | None] = {f"{what}/{plan.variant}": _answering(model, world, plan)}
    if plan.peers:
        ways[f"{what}/one-tower"] = best_inference(world, plan.batch_size)
        ways[f"{what}/one-tower-compiled"] = compiled(what, world, plan.batch_size)
        ways[f"{what}/stock"] = _stock(answering_step, replace(world, precision="fp32"), plan)
        ways[f"{what}/onnxruntime"] = onnx_runtime(model, world, plan.batch_size)
    return ways


def _measure(
    ways: dict[str, Way | None],
    plan: NetworkPlan,
    world: World,
    units: int,
    operations: Callable[[list[Layer]], float],
) -> list[Row]:
    """Rows of images a second, with the ceiling of their precision measured in the same rounds."""
    turn = Turn(plan.batch_size, plan.steps, world.device)
    there = {name: way for name, way in ways.items() if way}
    contenders: dict[str, Contender] = {
        name: turn.speed(way.step, units) for name, way in there.items()
    }
    shares = {
        name: Share(f"ceiling/matmul-{way.how[:4]}", operations(_layers(name, plan)))
        for name, way in there.items()
    }
    for precision in sorted({share.ceiling[-4:] for share in shares.values()}):
        contenders[f"ceiling/matmul-{precision}"] = matmul_ceiling(precision, world)
    unit = {name: "images/s" if name in there else "FLOP/s" for name in contenders}
    how = {name: way.how for name, way in there.items()}
    rows = interleaved(contenders, plan.rounds, unit, list(there)[1:], shares, how)
    return [row for row in rows if row.name in there]


def _waits(ways: dict[str, Way | None], plan: NetworkPlan, world: World) -> list[Row]:
    """Rows of seconds for one image."""
    turn = Turn(1, plan.steps and 4 * plan.steps, world.device)
    there = {name: way for name, way in ways.items() if way}
    contenders = {name: _seconds(turn.speed(way.step, 1)) for name, way in there.items()}
    how = {name: way.how for name, way in there.items()}
    return interleaved(contenders, plan.rounds, "seconds", list(there)[1:], how=how)


def _seconds(speed: Contender) -> Contender:
    return lambda: 1.0 / speed()


def _layers(row_name: str, plan: NetworkPlan) -> list[Layer]:
    """The layers whose multiply-adds a row has to do."""
    name = "one-tower" if "one-tower" in row_name else plan.variant
    return layer_table(VARIANTS[name])
