"""A peer at its best: the ways a skilled user would run it, the fastest of them chosen here."""

import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch

from alexnet.bench.peers import OnBytes, normalized, one_tower
from alexnet.bench.turns import Turn, answering_step, synthetic_batch, training_step
from alexnet.parallel.world import World, has_bf16
from alexnet.progress import say

_COMPILER_SECONDS = {"cpu": 90, "cuda": 60}  # that a compiler may take before it is left out


@dataclass(frozen=True)
class Way:
    """A step ready to be measured, and in words how it is done."""

    step: Callable[[], object]
    how: str


def best_training(world: World, batch_size: int) -> Way:
    """The one-tower net learning, in the fastest way."""
    return fastest(
        {how: partial(_training, world, how, batch_size) for how in _layouts(world)}, world
    )


def best_inference(world: World, batch_size: int) -> Way:
    """The one-tower net answering, in the fastest way: also with weights cast once, and frozen."""
    ways = {how: partial(_answering, world, how, batch_size) for how in _layouts(world)}
    if has_bf16(world.device.type):
        ways["bf16 weights, channels last"] = partial(_cast, world, batch_size)
    if world.device.type == "cpu":
        ways["fp32, channels last, frozen"] = partial(_frozen, world, batch_size)
    return fastest(ways, world)


def fastest(ways: Mapping[str, Callable[[], Callable[[], object]]], world: World) -> Way:
    """The fastest of some ways, by a short measurement of each."""
    found: tuple[float, Way] | None = None
    for how, make in ways.items():
        step = make()
        measure = replace(Turn(1, None, world.device), steps=2).speed(step, 1.0)
        measure()  # allocates, chooses kernels
        speed = measure()
        if found is None or speed > found[0]:
            found = (speed, Way(step, how))
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
        reason = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        say(f"{what}/one-tower-compiled is left out: {''.join(reason) or 'torch.compile failed'}")
        return None
    say(f"torch.compile took {time.perf_counter() - began:.0f} s")
    how = f"{world.precision}, channels last, torch.compile"
    return Way(compiled_step(what, world, batch_size), how)


def compiled_step(what: str, world: World, batch_size: int) -> Callable[[], None]:
    """A step of the compiled one-tower net; the first call compiles."""
    model = _tower(world, channels_last=True)
    fast = torch.compile(model)
    if what == "train":
        step = training_step(model, world, batch_size, forward=fast)
    else:
        model.eval()
        step = answering_step(fast, world, batch_size)
    return tuned(step, world)


def tuned(step: Callable[[], None], world: World) -> Callable[[], None]:
    """The step with cuDNN choosing its kernels by measuring them."""
    context = (
        partial(torch.backends.cudnn.flags, benchmark=True, allow_tf32=True)
        if world.device.type == "cuda"
        else nullcontext
    )

    def with_context() -> None:
        with context():
            step()

    return with_context


def _layouts(world: World) -> list[str]:
    layouts = ["fp32, contiguous", "fp32, channels last"]
    return [*layouts, "bf16, channels last"] if has_bf16(world.device.type) else layouts


def _placed(world: World, how: str) -> World:
    return replace(world, precision=how[:4])


def _tower(world: World, channels_last: bool) -> OnBytes:
    model = OnBytes(one_tower()).to(world.device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return model.to(memory_format=layout)  # type: ignore[call-overload, no-any-return]


def _training(world: World, how: str, batch_size: int) -> Callable[[], None]:
    model = _tower(world, "channels last" in how)
    step = training_step(model, _placed(world, how), batch_size, contiguous="contiguous" in how)
    return tuned(step, world)


def _answering(world: World, how: str, batch_size: int) -> Callable[[], None]:
    model = _tower(world, "channels last" in how)
    step = answering_step(model, _placed(world, how), batch_size, contiguous="contiguous" in how)
    return tuned(step, world)


def _cast(world: World, batch_size: int) -> Callable[[], None]:
    """Weights cast once, not at each call as autocast does."""
    model = _tower(world, channels_last=True)
    model.network.to(torch.bfloat16)
    step = answering_step(
        lambda images: model.network(normalized(images).bfloat16()),
        replace(world, precision="fp32"),
        batch_size,
    )
    model.eval()
    return tuned(step, world)


def _frozen(world: World, batch_size: int) -> Callable[[], None]:
    """torch.jit's freezing, which folds what is constant; deprecated, and still fast here."""
    model = _tower(world, channels_last=True).eval()
    images, _ = synthetic_batch(batch_size, world.device)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(torch.jit.trace(model, images))  # type: ignore[no-untyped-call]

    def step() -> None:
        with torch.inference_mode():
            frozen(images)

    return step


def _try_to_compile(what: str, batch_size: str, device: str, precision: str) -> None:
    world = World(0, 1, torch.device(device), precision)
    compiled_step(what, world, int(batch_size))()


if __name__ == "__main__":
    _try_to_compile(*sys.argv[1:])
