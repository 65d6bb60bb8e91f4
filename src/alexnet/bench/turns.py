"""One contender's turn: whole steps, as many as fill the turn, timed with the device waited for."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.bench.measure import Contender
from alexnet.config import OptimizerConfig
from alexnet.evaluation.inference import use_fastest_forms
from alexnet.model.network import AlexNet
from alexnet.model.variants import Variant
from alexnet.parallel.world import World, finish
from alexnet.training.optimizer import allow_narrow_gradients, build_optimizer

_SECONDS = 1.0  # of a turn, where the number of steps is not given
_FEWEST = 3  # steps of such a turn


@dataclass(frozen=True)
class Turn:
    """How long a contender works before the next one has its turn.

    Each turn begins with a step that does not count: it finds caches and memory as another
    contender left them, which no training does.

    Attributes:
        batch_size: images in a step.
        steps: of a turn; None: as many as take a second, three at least, found in the first turn.
        device: which is waited for before the clock is read.
    """

    batch_size: int
    steps: int | None
    device: torch.device

    def speed(self, step: Callable[[], object], units: float) -> Contender:
        """A contender that does `step` again and again and returns units a second."""
        chosen = self.steps

        def measure() -> float:
            nonlocal chosen
            step()  # the first ever compiles, allocates and chooses kernels, too
            if chosen is None:
                chosen = max(_FEWEST, min(2000, int(_SECONDS / self._seconds(step, 1))))
            return chosen * units / self._seconds(step, chosen)

        return measure

    def _seconds(self, step: Callable[[], object], count: int) -> float:
        finish(self.device)
        began = time.perf_counter()
        for _ in range(count):
            step()
        finish(self.device)
        return time.perf_counter() - began


def usual_batch_size(world: World) -> int:
    """Images in a step that fill the hardware without taking long."""
    return 64 if world.device.type == "cpu" else 1024


def our_network(variant: Variant, world: World, num_classes: int = 1000) -> AlexNet:
    """Our network as a run makes it: channels last, its convolutions in their fastest forms."""
    model: AlexNet = AlexNet(variant, num_classes)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    use_fastest_forms(model, world)
    return model


def training_step(
    model: nn.Module,
    world: World,
    batch_size: int,
    forward: Callable[[Tensor], Tensor] | None = None,
    contiguous: bool = False,
    image_size: int = 224,
    num_classes: int = 1000,
) -> Callable[[], None]:
    """A whole step on synthetic images: forward, backward, update, as the training loop does it.

    Args:
        model: whose parameters learn.
        world: device and precision.
        batch_size: images.
        forward: what is called in place of the model, such as a compiled form of it.
        contiguous: whether the images are laid out plane by plane, not pixel by pixel.
        image_size: side in pixels.
        num_classes: of the labels.
    """
    images, labels = synthetic_batch(batch_size, world.device, image_size, num_classes)
    images = images.contiguous() if contiguous else images
    step = learning_step(model, world, forward)
    return lambda: step(images, labels)


def learning_step(
    model: nn.Module, world: World, forward: Callable[[Tensor], Tensor] | None = None
) -> Callable[[Tensor, Tensor], None]:
    """A whole step on the images and labels it is given; arguments as for `training_step`."""
    optimizer: torch.optim.Optimizer
    if isinstance(model, AlexNet):
        optimizer = build_optimizer(model, OptimizerConfig(lr=1e-6))
        if world.precision == "bf16":
            allow_narrow_gradients(optimizer)
    else:
        optimizer = torch.optim.SGD(
            model.parameters(), 1e-6, momentum=0.9, weight_decay=5e-4, fused=True
        )
    model.train()
    answer = model if forward is None else forward

    def step(images: Tensor, labels: Tensor) -> None:
        with world.autocast():
            logits = answer(images)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def answering_step(
    model: Callable[[Tensor], Tensor], world: World, batch_size: int, contiguous: bool = False
) -> Callable[[], None]:
    """The logits of a batch of synthetic images; arguments as for `training_step`."""
    images, _ = synthetic_batch(batch_size, world.device)
    images = images.contiguous() if contiguous else images
    if isinstance(model, nn.Module):
        model.eval()

    def step() -> None:
        with torch.inference_mode(), world.autocast():
            model(images)

    return step


def synthetic_batch(
    count: int, device: torch.device, size: int = 224, num_classes: int = 1000
) -> tuple[Tensor, Tensor]:
    """(N, 3, S, S) random bytes in channels-last order, and (N,) random labels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, num_classes, (count,), generator=generator)
    return images.permute(0, 3, 1, 2).to(device), labels.to(device)
