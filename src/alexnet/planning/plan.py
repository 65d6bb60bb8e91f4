"""`alexnet plan`: memory and time of training on one device, before it starts."""

from dataclasses import dataclass, replace

import torch

from alexnet.data.loading import choose_place
from alexnet.model.catalog import imagenet_variant
from alexnet.model.layers import layer_table
from alexnet.model.variants import Variant
from alexnet.ops import Stage
from alexnet.ops.choice import way_of
from alexnet.ops.narrow import allow_narrow_gradient
from alexnet.parallel.memory import available_bytes
from alexnet.parallel.world import World
from alexnet.planning.kept import Fusion
from alexnet.planning.memory import StepMemory, step_memory
from alexnet.planning.timing import StepTime, estimated_time, measured_time
from alexnet.progress import say

_USABLE = 0.9  # of the free memory; the rest is for the system and other programs


@dataclass(frozen=True)
class Plan:
    """What training will need.

    Attributes:
        variant, num_classes, batch_size: what is planned.
        images: of an epoch.
        world: device and precision.
        parameters: of the network.
        memory, time: of a step.
        available: bytes free on the device now.
        pixels: bytes of it that the decoded images of an epoch will take.
        largest_batch: images of the largest step that fits beside them; 0: none does.
    """

    variant: Variant
    num_classes: int
    batch_size: int
    images: int
    world: World
    parameters: int
    memory: StepMemory
    time: StepTime
    available: int
    pixels: int
    largest_batch: int

    @property
    def steps_per_epoch(self) -> int:
        """The last one may be smaller."""
        return -(-self.images // self.batch_size)

    @property
    def seconds_per_epoch(self) -> float:
        """Of training alone, with images that keep up."""
        return self.time.seconds * self.images / self.batch_size


def make_plan(
    world: World,
    variant: str = "paper",
    batch_size: int = 128,
    image_size: int | None = None,
    classes: int = 1000,
    images: int = 1_281_167,
    no_measure: bool = False,
) -> Plan:
    """Plan the training of a variant.

    Args:
        world: where, and in which precision.
        variant: which network.
        batch_size: images of a step.
        image_size: side in pixels; by default the variant's.
        classes: outputs of fc8.
        images: of an epoch.
        no_measure: whether the time is estimated from matrix products instead of measured.

    Raises:
        UserError: no such variant for ImageNet, or an image too small for it.
    """
    chosen = imagenet_variant(variant)
    if image_size is not None:
        chosen = replace(chosen, image_size=image_size)
    ways = (fusion_on(world), has_narrow_gradients_on(world))
    memory = step_memory(chosen, batch_size, world.precision, classes, *ways)
    available = available_bytes(world.device)
    pixels = _pixels_beside(world.device, images, chosen.image_size)
    usable = int(_USABLE * available) - pixels
    fits = memory.total <= usable
    if not fits and not no_measure:
        say("a step of this size does not fit; its time is estimated, not measured")
    time_of = measured_time if fits and not no_measure else estimated_time
    return Plan(
        variant=chosen,
        num_classes=classes,
        batch_size=batch_size,
        images=images,
        world=world,
        parameters=sum(layer.parameters for layer in layer_table(chosen, classes)),
        memory=memory,
        time=time_of(chosen, classes, batch_size, world),
        available=available,
        pixels=pixels,
        largest_batch=memory.largest_batch(usable),
    )


def _pixels_beside(device: torch.device, images: int, side: int) -> int:
    """Bytes of decoded images that a run keeps in the memory that its step needs, too."""
    stored = round(side * 256 / 224)  # section 2's 256 for section 3.5's 224
    rgb = 3 * images * stored**2
    kind = choose_place(images, device, stored, workers=1).kind
    own = "host" if device.type == "cpu" else "device"
    return {own: rgb, "device-yuv": rgb // 2}.get(kind, 0)


def fusion_on(world: World) -> Fusion:
    """Which stages after a convolution run as one operation on this device."""
    activations = torch.empty(1, 1, 1, 1, device=world.device)
    return "none" if way_of(activations, Stage(window=1)) == "by parts" else "all"


def has_narrow_gradients_on(world: World) -> bool:
    """Whether gradients of the fully connected layers stay bfloat16 on this device."""
    on_processor = world.device.type == "cpu" and world.precision == "bf16"
    return on_processor and allow_narrow_gradient(torch.empty(1, 1))
