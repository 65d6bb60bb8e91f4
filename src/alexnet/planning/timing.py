"""The time of a training step: measured, or from the speed of matrix products."""

from dataclasses import dataclass

from alexnet.bench.ceilings import matmul_ceiling, training_operations
from alexnet.bench.turns import Turn, our_network, training_step
from alexnet.model.layers import layer_table
from alexnet.model.variants import Variant
from alexnet.parallel.world import World

_SHARE_OF_CEILING = {"cpu": 0.6, "cuda": 0.35}  # that whole steps reach, as a rule of thumb


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step, and in words where they come from."""

    seconds: float
    source: str


def measured_time(variant: Variant, num_classes: int, batch_size: int, world: World) -> StepTime:
    """Do a few steps on synthetic images: one that does not count, then as many as take 1 s."""
    model = our_network(variant, world, num_classes)
    size = variant.image_size
    step = training_step(model, world, batch_size, image_size=size, num_classes=num_classes)
    speed = Turn(batch_size, None, world.device).speed(step, 1.0)()
    return StepTime(1.0 / speed, "measured")


def estimated_time(variant: Variant, num_classes: int, batch_size: int, world: World) -> StepTime:
    """A share of the speed of matrix products, which is measured."""
    measure = matmul_ceiling(world.precision, world)
    measure()
    share = _SHARE_OF_CEILING[world.device.type]
    operations = batch_size * training_operations(layer_table(variant, num_classes))
    source = f"estimated: {share:.0%} of the speed of {world.precision} matrix products"
    return StepTime(operations / (share * measure()), source)
