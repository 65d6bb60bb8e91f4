"""What the hardware could do at most: matrix products and copies, measured beside the network."""

import torch

from alexnet.bench.measure import Contender, Row, interleaved
from alexnet.bench.turns import Turn
from alexnet.model.layers import Layer
from alexnet.parallel.world import World, has_bf16

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def bench_ceilings(rounds: int, world: World) -> list[Row]:
    """Matrix products by precision, FLOP/s, and copies, bytes/s read and written together."""
    contenders = {f"ceiling/matmul-{name}": matmul_ceiling(name, world) for name in _TYPES}
    if world.device.type == "cuda":
        contenders["ceiling/matmul-tf32"] = _tf32(matmul_ceiling("fp32", world))
    contenders["ceiling/copy"] = copy_ceiling(world)
    units = dict.fromkeys(contenders, "FLOP/s") | {"ceiling/copy": "bytes/s"}
    return interleaved(contenders, rounds, units)


def matmul_ceiling(precision: str, world: World) -> Contender:
    """Products of square matrices, FLOP/s: no step of that precision can be faster."""
    side = 2048 if world.device.type == "cpu" else 8192
    if precision == "bf16" and not has_bf16(world.device.type):
        side = 256  # emulated: a hundredth of the speed
    a = torch.randn(side, side, device=world.device).to(_TYPES[precision])
    return Turn(1, None, world.device).speed(lambda: a @ a, 2 * side**3)


def copy_ceiling(world: World) -> Contender:
    """Copies of a block that no cache holds, bytes/s read and written together."""
    count = 2**28 if world.device.type == "cpu" else 2**30
    source = torch.zeros(count, dtype=torch.uint8, device=world.device)
    target = torch.empty_like(source)
    return Turn(1, None, world.device).speed(lambda: target.copy_(source), 2 * count)


def training_operations(layers: list[Layer]) -> float:
    """FLOP of a training step for one image: forward, and both gradients but that of the image."""
    macs = [layer.macs for layer in layers]
    first = next(count for count in macs if count)
    return 2.0 * (3 * sum(macs) - first)


def inference_operations(layers: list[Layer]) -> float:
    """FLOP of an answer to one image."""
    return 2.0 * sum(layer.macs for layer in layers)


def _tf32(measure: Contender) -> Contender:
    """The same with float32 inputs rounded to 10 bits, as torch's convolutions are by default."""

    def rounded() -> float:
        allowed = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = True
        try:
            return measure()
        finally:
            torch.backends.cuda.matmul.allow_tf32 = allowed

    return rounded
