"""A peer at its best: the ways a skilled user would run it, the fastest of them chosen here."""

import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import torch

from alexnet.bench.peers import OnBytes, normalized, one_tower
from alexnet.bench.turns import Turn, answering_step, synthetic_batch, training_step
from alexnet.errors import last_line
from alexnet.model.variants import VARIANTS, Variant
from alexnet.parallel.world import World, has_bf16, make_world
from alexnet.progress import say

_COMPILER_SECONDS = {"cpu": 90, "cuda": 60}  # that a compiler may take before it is left out


@dataclass(frozen=True)
class Way:
    """A step ready to be measured.

    Attributes:
        step: one batch is learnt or answered.
        precision: of the products, fp32 or bf16.
        details: the layout, and what else tells this way from others, in words.
        variant: whose layers are computed.
    """

    step: Callable[[], object]
    precision: str
    details: str
    variant: Variant

    @property
    def how(self) -> str:
        """For people: precision and form in words."""
        return f"{self.precision}, {self.details}"


def best_training(world: World, batch_size: int) -> Way:
    """The one-tower net learning, in the fastest way."""
    return fastest((partial(_training, *form, batch_size) for form in _forms(world)), world)


def best_inference(world: World, batch_size: int) -> Way:
    """The one-tower net answering, in the fastest way: also with weights cast once, and frozen."""
    ways = [partial(_answering, *form, batch_size) for form in _forms(world)]
    if has_bf16(world.device.type):
        ways.append(partial(_cast, world, batch_size))
    if world.device.type == "cpu":
        ways.append(partial(_frozen, world, batch_size))
    return fastest(ways, world)


def fastest(ways: Iterable[Callable[[], Way]], world: World) -> Way:
    """The fastest of some ways, each of them made and measured shortly."""
    found: tuple[float, Way] | None = None
    for make in ways:
        way = make()
        measure = replace(Turn(1, None, world.device), steps=2).speed(way.step, 1.0)
        measure()  # allocates, chooses kernels
        speed = measure()
        if found is None or speed > found[0]:
            found = (speed, way)
    assert found is not None
    return found[1]


def compiled(what: str, world: World, batch_size: int) -> Way | None:
    """The one-tower net through torch.compile; None, and a line said, where that fails or drags.

    A process of its own compiles first, which can be stopped; what it made is in the compiler's
    cache then.
    """
    limit = _COMPILER_SECONDS[world.device.type]
    line = [what, str(batch_size), world.device.type, world.precision]
    began = time.perf_counter()
    try:
        subprocess.run(
            [sys.executable, "-m", "alexnet.bench.best", *line],
            check=True,
            capture_output=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        say(f"{what}/one-tower-compiled is left out: torch.compile takes more than {limit} s")
        return None
    except subprocess.CalledProcessError as error:
        reason = last_line(error.stderr) or "torch.compile failed"
        say(f"{what}/one-tower-compiled is left out: {reason}")
        return None
    say(f"torch.compile took {time.perf_counter() - began:.0f} s")
    step = compiled_step(what, world, batch_size)
    return _of_the_tower(step, world.precision, "channels last, torch.compile")


def compiled_step(what: str, world: World, batch_size: int) -> Callable[[], None]:
    """A step of the compiled one-tower net; the first call compiles."""
    model = _tower(world, channels_last=True)
    fast = torch.compile(model)
    if what == "train":
        return training_step(model, world, batch_size, forward=fast)
    model.eval()
    return answering_step(fast, world, batch_size)


def _of_the_tower(step: Callable[[], object], precision: str, details: str) -> Way:
    return Way(step, precision, details, VARIANTS["one-tower"])


def _forms(world: World) -> list[tuple[World, bool]]:
    """Precisions, each with whether channels come last, of which any may be the fastest."""
    fp32 = replace(world, precision="fp32")
    forms = [(fp32, False), (fp32, True)]
    bf16 = replace(world, precision="bf16")
    return [*forms, (bf16, True)] if has_bf16(world.device.type) else forms


def _layout(channels_last: bool) -> str:
    return "channels last" if channels_last else "contiguous"


def _tower(world: World, channels_last: bool) -> OnBytes:
    model = OnBytes(one_tower()).to(world.device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return model.to(memory_format=layout)  # type: ignore[call-overload, no-any-return]


def _training(world: World, channels_last: bool, batch_size: int) -> Way:
    model = _tower(world, channels_last)
    step = training_step(model, world, batch_size, contiguous=not channels_last)
    return _of_the_tower(step, world.precision, _layout(channels_last))


def _answering(world: World, channels_last: bool, batch_size: int) -> Way:
    model = _tower(world, channels_last)
    step = answering_step(model, world, batch_size, contiguous=not channels_last)
    return _of_the_tower(step, world.precision, _layout(channels_last))


def _cast(world: World, batch_size: int) -> Way:
    """Weights cast once, not at each call as autocast does."""
    model = _tower(world, channels_last=True)
    model.network.to(torch.bfloat16)
    model.eval()
    step = answering_step(
        lambda images: model.network(normalized(images).bfloat16()),
        replace(world, precision="fp32"),
        batch_size,
    )
    return _of_the_tower(step, "bf16", "channels last, weights cast once")


def _frozen(world: World, batch_size: int) -> Way:
    """torch.jit's freezing, which folds what is constant; deprecated, and still fast here."""
    model = _tower(world, channels_last=True).eval()
    images, _ = synthetic_batch(batch_size, world.device)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(torch.jit.trace(model, images))  # type: ignore[no-untyped-call]

    def step() -> None:
        with torch.inference_mode():
            frozen(images)

    return _of_the_tower(step, "fp32", "channels last, frozen")


def _try_to_compile(what: str, batch_size: str, device: str, precision: str) -> None:
    compiled_step(what, make_world(device, precision), int(batch_size))()


if __name__ == "__main__":
    _try_to_compile(*sys.argv[1:])
