"""`alexnet bench train` and `infer`: how fast the network learns and answers, on synthetic images.

Our weights stay in float32 while training. The one-tower net runs at its best: the fastest of the
ways in `best.py`. The stock translation runs as its user runs it, and once more in bfloat16 with
all that this package sets up.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from alexnet.bench.best import Way, best_inference, best_training, compiled
from alexnet.bench.ceilings import inference_operations, matmul_ceiling, training_operations
from alexnet.bench.measure import Contender, Row, Share, interleaved
from alexnet.bench.onnx_runtime import onnx_runtime
from alexnet.bench.peers import OnBytes, stock_translation
from alexnet.bench.plain import PlainStep, stock_step
from alexnet.bench.turns import (
    Turn,
    our_network,
    synthetic_batch,
    training_step,
)
from alexnet.evaluation.inference import answering, use_fastest_forms
from alexnet.model.layers import Layer, layer_table
from alexnet.model.network import AlexNet
from alexnet.model.variants import VARIANTS, Variant
from alexnet.parallel.world import World, finish

_ONE_TOWER = "one-tower"  # the name of a peer, and of a variant of ours


@dataclass(frozen=True)
class NetworkPlan:
    """What to measure with.

    Attributes:
        variant: which of ours.
        peers: whether what others offer is measured too.
        batch_size: images in a step.
        steps: of each contender in a round; None: as many as take a second, three at least.
        rounds: that count.
    """

    variant: str
    peers: bool
    batch_size: int
    steps: int | None
    rounds: int

    @property
    def row(self) -> str:
        """What our row is called: the variant, unless that is the name of a peer's row."""
        taken = self.peers and self.variant == _ONE_TOWER
        return f"our-{self.variant}" if taken else self.variant


def bench_training(plan: NetworkPlan, world: World) -> list[Row]:
    """Whole training steps: forward, backward, update. Images a second."""
    ours = VARIANTS[plan.variant]
    ways: dict[str, Way | None] = {f"train/{plan.row}": _learning(ours, world, plan)}
    if plan.peers:
        bare = replace(ours, order=tuple(stage for stage in ours.order if "norm" not in stage))
        if bare != ours:
            ways["train/without-normalization"] = _learning(bare, world, plan)
        ways[f"train/{_ONE_TOWER}"] = best_training(world, plan.batch_size)
        ways[f"train/{_ONE_TOWER}-compiled"] = compiled("train", world, plan.batch_size)
        ways["train/stock"] = _stock("train", world, plan)
        if world.precision == "bf16":
            ways["train/stock-bf16"] = _stock_bf16(world, plan)
    return _measure(ways, plan, world, training_operations)


def bench_inference(plan: NetworkPlan, world: World) -> Iterator[Row]:
    """Answers to batches, images a second, and to single images, seconds."""
    yield from _measure(_answers(plan, world, "infer"), plan, world, inference_operations)
    single = replace(plan, batch_size=1)
    yield from _waits(_answers(single, world, "latency"), single, world)


def _learning(variant: Variant, world: World, plan: NetworkPlan) -> Way:
    model = our_network(variant, world)
    step = training_step(model, world, plan.batch_size, image_size=variant.image_size)
    return Way(step, world.precision, "channels last", variant)


def _answering(model: AlexNet, world: World, plan: NetworkPlan) -> Way:
    """As `predict` and `eval` answer."""
    variant = model.variant
    images, _ = synthetic_batch(plan.batch_size, world.device, variant.image_size)
    answer = answering(model, world)
    return Way(lambda: answer(images), world.precision, "channels last", variant)


def _stock(what: str, world: World, plan: NetworkPlan) -> Way:
    """The stock translation as written, in float32."""
    step: Callable[[], None]
    if world.device.type == "cpu":
        step, details = PlainStep(what, plan.batch_size), "as written, in a plain process"
    else:
        step, details = stock_step(what, world, plan.batch_size), "as written"
    return Way(step, "fp32", details, VARIANTS["paper"])


def _stock_bf16(world: World, plan: NetworkPlan) -> Way:
    """The stock translation learning in bfloat16, channels last, in this process."""
    model: nn.Module = OnBytes(stock_translation()).to(world.device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    step = training_step(model, world, plan.batch_size)
    return Way(step, "bf16", "channels last", VARIANTS["paper"])


def _answers(plan: NetworkPlan, world: World, what: str) -> dict[str, Way | None]:
    """Every network that answers, by row name."""
    model = AlexNet(VARIANTS[plan.variant])
    use_fastest_forms(model, world)
    ways: dict[str, Way | None] = {f"{what}/{plan.row}": _answering(model, world, plan)}
    if plan.peers:
        ways[f"{what}/{_ONE_TOWER}"] = best_inference(world, plan.batch_size)
        ways[f"{what}/{_ONE_TOWER}-compiled"] = compiled(what, world, plan.batch_size)
        ways[f"{what}/stock"] = _stock("infer", world, plan)
        ways[f"{what}/onnxruntime"] = onnx_runtime(model, world, plan.batch_size)
    return ways


def _measure(
    ways: dict[str, Way | None],
    plan: NetworkPlan,
    world: World,
    operations: Callable[[list[Layer]], float],
) -> list[Row]:
    """Rows of images a second, with the ceiling of their precision measured in the same rounds."""
    turn = Turn(plan.batch_size, plan.steps, world.device)
    there = {name: way for name, way in ways.items() if way}
    contenders: dict[str, Contender] = {
        name: turn.speed(way.step, plan.batch_size) for name, way in there.items()
    }
    shares = {
        name: Share(_ceiling(way.precision), operations(layer_table(way.variant)))
        for name, way in there.items()
    }
    for precision in sorted({way.precision for way in there.values()}):
        contenders[_ceiling(precision)] = matmul_ceiling(precision, world)
    unit = {name: "images/s" if name in there else "FLOP/s" for name in contenders}
    how = {name: way.how for name, way in there.items()}
    rows = interleaved(contenders, plan.rounds, unit, list(there)[1:], shares, how)
    return [row for row in rows if row.name in there]


def _ceiling(precision: str) -> str:
    """The name of the row of matrix products."""
    return f"ceiling/matmul-{precision}"


def _waits(ways: dict[str, Way | None], plan: NetworkPlan, world: World) -> list[Row]:
    """Rows of seconds for one image."""
    turn = Turn(1, plan.steps and 4 * plan.steps, world.device)
    there = {name: way for name, way in ways.items() if way}
    contenders = {
        name: _seconds(turn.speed(_waited_for(way.step, world.device), 1))
        for name, way in there.items()
    }
    how = {name: way.how for name, way in there.items()}
    return interleaved(contenders, plan.rounds, "seconds", list(there)[1:], how=how)


def _waited_for(step: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """The step and the wait for its answer, without which the device would work on several."""

    def answered() -> None:
        step()
        finish(device)

    return answered


def _seconds(speed: Contender) -> Contender:
    return lambda: 1.0 / speed()
