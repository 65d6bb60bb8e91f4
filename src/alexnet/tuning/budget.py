"""A time budget: how many epochs fit, measured on this machine with this network."""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic, perf_counter

import numpy as np
import torch
import torch.nn.functional as F

from alexnet.config import Config, key_of
from alexnet.data.images import BadImage, load_square
from alexnet.data.loading import choose_place
from alexnet.data.sources import Source, open_source
from alexnet.draws import sample_keys
from alexnet.errors import UserError
from alexnet.model.build import build_network
from alexnet.model.catalog import resolve
from alexnet.parallel.devices import devices_for
from alexnet.parallel.world import World, finish, make_world
from alexnet.process import cores
from alexnet.progress import duration, say
from alexnet.training.finetune import freeze
from alexnet.training.length import moves, with_epochs
from alexnet.training.optimizer import build_optimizer, set_rates
from alexnet.training.schedule import Rates

_MARGIN = 0.92  # of the budget is planned: machines slow down, and the last epoch must end in it
_START_AND_END = 8.0  # seconds for loading libraries, the report and the last weights
_MEASURED_SECONDS = 4.0
_MOST = 3.0  # times the epochs that would be chosen without a budget; more would only over-fit
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Costs:
    """Seconds that things take here."""

    step: float  # of training, one batch
    validation_image: float
    decoding: float  # of one image, all threads together


def full_steps(config: Config, images: int) -> float:
    """The work of an epoch of so many training images, in steps of a whole batch."""
    return images / min(config.train.batch_size, images)


def steps_per_epoch(config: Config, images: int) -> int:
    """Steps in which so many training images pass once; the last may hold fewer."""
    return -(-images // config.train.batch_size)


def read_duration(text: str) -> float:
    """Seconds in `90s`, `30m`, `2h`, `1h30m` or `1d`; a bare number is minutes.

    Raises:
        UserError: it is none of these.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return 60.0 * float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UserError(f"--budget wants a time such as 90s, 30m or 1h30m, not {text!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def fit_to_budget(
    config: Config, seconds: float, assignments: Sequence[str] = (), processes: int = 1
) -> Config:
    """The configuration with as many epochs as end within the budget.

    Args:
        config: of the run.
        seconds: the budget, from the start of the command to its end.
        assignments: what the user has set, which stays.
        processes: that will train it together.

    Raises:
        UserError: the user has set the length as well, or not one step fits.
    """
    if any(key_of(entry) in ("train.epochs", "train.steps") for entry in assignments):
        raise UserError("--budget plans the length of the run; leave out --epochs and --steps")
    began = monotonic()
    source = open_source(config.data.source, validation_fraction=config.data.validation_fraction)
    costs = measure_costs(config, source, devices_for(processes, config.train.device))
    counts = len(source.train), len(source.validation)
    left = seconds - (monotonic() - began)
    fitted = plan_epochs(config, left, costs, *counts, assignments)
    length = (
        f"{fitted.train.epochs} epochs"
        if fitted.train.steps is None
        else f"{fitted.train.steps} steps"
    )
    each = duration(epoch_seconds(config, costs, source))
    say(
        f"  train.epochs {fitted.train.epochs}: {length}, an epoch in {each},"
        f" end within {duration(seconds)}"
    )
    for line in moves(config, fitted):
        say(line)
    return fitted


def plan_epochs(
    config: Config,
    seconds: float,
    costs: Costs,
    train: int,
    validation: int,
    assignments: Sequence[str] = (),
) -> Config:
    """As `fit_to_budget`, from costs that are known; pure.

    Args:
        config: of the run; steps that it says are not kept.
        seconds: the budget.
        costs: of this machine.
        train: images.
        validation: images.
        assignments: what the user has set, which stays.
    """
    keep = [key_of(assignment) for assignment in assignments]
    images = train + validation
    views = config.evaluation.views
    fixed = _START_AND_END + images * costs.decoding + validation * costs.validation_image * views
    free = _MARGIN * seconds - fixed
    epoch = full_steps(config, train) * costs.step + validation * costs.validation_image
    if free < costs.step + validation * costs.validation_image:  # each run is validated at its end
        raise UserError(
            f"{duration(seconds)} are too short: reading the images and measuring the result take "
            f"{duration(fixed)}; give more time or a smaller model.image_size"
        )
    most = max(1, round(_MOST * config.train.epochs))
    epochs = min(most, int(free / epoch))
    if epochs == 0:
        # Less than one pass: the run ends after some steps, and is measured once.
        few = int((free - validation * costs.validation_image) / costs.step)
        one = with_epochs(config, 1, keep)
        return replace(one, train=replace(one.train, steps=few))
    return with_epochs(config, epochs, keep)


def measure_costs(config: Config, source: Source, devices: int = 1) -> Costs:
    """Train and evaluate on made-up pixels for some seconds, and decode some images.

    Args:
        config: of the run; a batch that it trains in several passes is measured by one of them.
        source: its images.
        devices: that share every batch; this one's part is measured.
    """
    world = make_world(config.train.device, config.train.precision)
    model = build_network(resolve(config.model), len(source.classes))
    model = model.to(world.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    side = model.variant.image_size
    share = -(-min(config.train.batch_size, len(source.train)) // devices)
    batch = min(share, config.train.micro_batch_size or share)
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (batch, side, side, 3), dtype=np.uint8))
    images = pixels.permute(0, 3, 1, 2).to(world.device)
    labels = torch.arange(batch, device=world.device) % len(source.classes)
    freeze(model, config)
    optimizer = build_optimizer(model, config.optimizer)
    keys = torch.from_numpy(sample_keys(0, 0, np.arange(batch))).to(world.device)

    def train_once() -> None:
        set_rates(optimizer, Rates(1e-9, 1e-9, {}))
        with world.autocast():
            logits = model(images, keys)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def evaluate_once() -> None:
        with torch.inference_mode(), world.autocast():
            model(images)

    model.train()
    step = _seconds_each(train_once, world) * -(-share // batch)
    model.eval()
    validation = _seconds_each(evaluate_once, world) / batch
    decoding = _decoding(source, config.data.size, config.data.workers)
    if _is_streamed(config, source, world):
        together = max if world.device.type == "cuda" else operator.add  # a GPU leaves the cores
        step, validation = together(step, share * decoding), together(validation, decoding)
    return Costs(step, validation / devices, decoding)


def _is_streamed(config: Config, source: Source, world: World) -> bool:
    """Whether the images do not fit into memory, and are decoded again in every epoch."""
    images, data = len(source.train) + len(source.validation), config.data
    return choose_place(images, world.device, data.size, data.workers, data.pixels).kind == "stream"


def _seconds_each(work: Callable[[], None], world: World) -> float:
    """Seconds of one call, after two that warm up, or one that takes long."""
    began = perf_counter()
    for _ in range(2):
        work()
        finish(world.device)
        if perf_counter() - began > _MEASURED_SECONDS / 2:
            break
    began, calls = perf_counter(), 0
    while calls < 2 or perf_counter() - began < _MEASURED_SECONDS / 2:
        work()
        calls += 1
        if calls % 4 == 0:
            finish(world.device)
    finish(world.device)
    return (perf_counter() - began) / calls


def _decoding(source: Source, size: int, workers: int) -> float:
    """Seconds to read an image of the source, shared by the decoding threads."""
    chosen = np.unique(np.linspace(0, len(source.train) - 1, 32).astype(int)).tolist()
    began = perf_counter()
    for index in chosen:
        try:
            load_square(source.train.read(index), size)
        except (BadImage, OSError):
            continue
    return (perf_counter() - began) / len(chosen) / min(workers, cores())


def epoch_seconds(config: Config, costs: Costs, source: Source) -> float:
    """Seconds that an epoch takes here: its training and the evaluation after it."""
    training = full_steps(config, len(source.train)) * costs.step
    return training + len(source.validation) * costs.validation_image
