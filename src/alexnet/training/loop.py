"""The training loop: step, log, validate, save. A run's whole state is `State`."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.commands import quoted_command
from alexnet.config import Config
from alexnet.data.batches import NO_IMAGE, Batch, TrainingFeed, training_batches
from alexnet.draws import sample_keys
from alexnet.errors import InterruptedRunError, PausedRunError
from alexnet.evaluation.evaluate import Evaluation
from alexnet.evaluation.metrics import credit
from alexnet.parallel.agreement import Agreement
from alexnet.parallel.layouts import Placed
from alexnet.parallel.world import World, finish
from alexnet.progress import Meter, duration, shown_epochs
from alexnet.rows import RowLog
from alexnet.training.alarm import Alarm, Sign, check_finite, spread
from alexnet.training.arrivals import on_device
from alexnet.training.checkpoint import Position, save_checkpoint
from alexnet.training.checks import shares
from alexnet.training.optimizer import optimizer_tensors, restore_optimizer, set_rates
from alexnet.training.schedule import Moment, Rates, is_finished, rates, warmup_steps
from alexnet.training.signals import StopRequest
from alexnet.training.watch import Watch


@dataclass
class State:
    """Everything that changes while a run goes on, and all that a checkpoint holds."""

    network: Placed
    optimizer: torch.optim.Optimizer
    sums: Tensor  # (4,) float64 since the last log: images, loss, top-1 and top-5 credit
    position: Position = field(default_factory=Position)

    def tensors(self, keep: bool = True) -> dict[str, Tensor]:
        """The tensors of a checkpoint, in host memory and the one-device layout.

        All processes of a run must ask together; those that do not `keep` them get none.
        """
        group = self.network.model_group
        sums = self.network.sum(self.sums.clone())
        named = chain(
            ((f"model.{name}", tensor) for name, tensor in self.network.whole_parameters()),
            [("model.mean", self.network.mean), ("sums", sums)],
            ((f"optimizer.{k}", v) for k, v in optimizer_tensors(self.optimizer, group)),
        )
        kept = {}
        for name, tensor in named:
            if keep:
                kept[name] = tensor.detach().cpu()
        return kept

    def restore(self, position: Position, tensors: dict[str, Tensor]) -> None:
        """Go back to a checkpoint, whatever layout it was saved under."""
        self.network.load(_below("model.", tensors))
        restore_optimizer(self.optimizer, _below("optimizer.", tensors))
        if self.network.slice_index == 0:  # they are those of all slices
            self.sums.copy_(tensors["sums"])
        self.position = position


@dataclass(frozen=True)
class Surroundings:
    """What a run works with and does not change."""

    config: Config
    world: World
    feed: TrainingFeed
    validate: Callable[[], Evaluation]
    keep_best: Callable[[], None]
    checkpoint_folder: Path
    metrics: RowLog
    stop: StopRequest
    watch: Watch | None = None
    pause_step: int | None = None  # validate, save and leave there


def total_steps(config: Config, steps_per_epoch: int) -> int:
    """How many steps a run has at most."""
    steps = config.train.epochs * steps_per_epoch
    return steps if config.train.steps is None else min(steps, config.train.steps)


def train_loop(state: State, around: Surroundings) -> None:
    """Train until the schedule is finished.

    Raises:
        InterruptedRunError: a stop was requested; the state is saved.
        PausedRunError: `pause_step` is reached; the state is saved.
        CannotLearnError: it cannot.
        CannotWriteError: its state cannot be saved; earlier checkpoints are intact.
    """
    config, feed = around.config, around.feed
    last_step = total_steps(config, feed.steps_per_epoch)
    of_classes = shares(feed.images.labels, state.network.outline.num_classes)
    alarm = Alarm(of_classes, state.position.left_chance) if config.train.alarm else None
    state.network.module.train()
    clock = _Clock()
    agreement = Agreement(around.world)
    first = state.position.step
    if around.pause_step is not None and around.pause_step <= first < last_step:
        raise PausedRunError  # a run that was stopped between saving and saying so
    saving = Saving(around, first)
    ahead = training_batches(feed, first, last_step, config.data.workers)
    with closing(ahead), Meter("training", last_step, start=first) as meter:
        batches = on_device(ahead, around.world.device)
        while not is_finished(config.schedule, _moment(state, around)):
            now = rates(config.optimizer, config.schedule, _moment(state, around))
            last = _step(state, batches, now, around, clock)
            step = state.position.step + 1
            end_of_epoch = step % feed.steps_per_epoch == 0 or step == last_step
            is_pause = step == around.pause_step
            is_to_log = step % config.train.log_every_steps == 0 or end_of_epoch or is_pause
            if is_to_log:
                with clock.training():
                    finish(around.world.device)  # steps that a GPU still works on take time, too
            state.position = clock.after_step(state.position, last.images_in_step)
            if is_to_log:
                vitals = _vitals(state, around, last, end_of_epoch)
                sign = _log(state, around, now, last, vitals)
                if around.watch:
                    around.watch.look(meter, end_of_epoch=False)
                if alarm:
                    known = around.watch.worst if around.watch else None
                    alarm.check(sign, state.network.whole, last.counted(last.images), known)
                    state.position = replace(state.position, left_chance=alarm.left_chance)
                meter.advance(0, _note(sign, state.position))
            if step == last_step or _ends_evaluated_epoch(step, around):
                _validate(state, around, meter)
            elif is_pause:
                _measure(state, around, meter, "pause")
            if end_of_epoch and around.watch:
                around.watch.look(meter, end_of_epoch=True)
            is_time = around.world.is_first and saving.is_time(end_of_epoch)
            stop, save = agreement.ask(bool(around.stop), is_time)
            if save or stop or saving.is_set(step, end_of_epoch) or is_pause:
                saving.save(state)
            meter.advance()
            if stop and step < last_step:
                agreement.finish()
                run = around.checkpoint_folder.parent
                raise InterruptedRunError(
                    f"stopped at step {step}, saved; "
                    f"continue with: {quoted_command('train', '--resume', run)}",
                    run,
                )
            if is_pause and step < last_step:
                agreement.finish()
                raise PausedRunError
    agreement.finish()
    if saving.step != state.position.step:
        saving.save(state)


@dataclass(frozen=True)
class _Passed:
    """The last pass of a step: what the network saw and answered, and images in the whole step."""

    batch: Batch
    images: Tensor
    logits: Tensor
    images_in_step: int

    def counted(self, rows: Tensor) -> Tensor:
        """Those of its rows that are of images, not of copies that fill up a slice."""
        return rows[self.batch.labels != NO_IMAGE]


def _step(
    state: State, batches: Iterator[Batch], now: Rates, around: Surroundings, clock: "_Clock"
) -> _Passed:
    """One update of section 5, in as many passes as the feed makes of it."""
    while True:
        with clock.waiting():
            batch = next(batches)
        with clock.training():
            passed = _pass(state, batch, around)
            if batch.ends_step:
                set_rates(state.optimizer, now)
                state.optimizer.step()
                state.optimizer.zero_grad(set_to_none=True)
                return passed


def _pass(state: State, batch: Batch, around: Surroundings) -> _Passed:
    """Add the gradients of some images to those of the step."""
    seed, step = around.config.train.seed, state.position.step
    drawn = torch.from_numpy(sample_keys(seed, step, batch.positions))
    keys = drawn.to(around.world.device, non_blocking=True)  # or every step would wait for the GPU
    images = batch.colored(state.network.mean)
    with state.network.adding_up(now=batch.ends_step):
        with around.world.autocast():
            logits = state.network.module(images, keys)
        logits = logits.float()
        # The sum over the own images, over all images of the step: gradients of passes and of
        # processes then add up to that of the mean.
        loss = F.cross_entropy(logits, batch.labels, reduction="sum", ignore_index=NO_IMAGE)
        (loss / batch.total).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        state.sums += _seen(logits, batch.labels, loss)
    return _Passed(batch, images, logits.detach(), batch.total)


def _seen(logits: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
    """(4,) float64: images, sum of their losses, top-1 and top-5 credit. Not read here."""
    counts = labels != NO_IMAGE
    earned = [(credit(logits, labels.clamp(min=0), k) * counts).sum() for k in (1, 5)]
    return torch.stack([counts.sum().double(), loss.detach().double(), *earned])


def _vitals(
    state: State, around: Surroundings, last: _Passed, end_of_epoch: bool
) -> dict[str, Any]:
    """What the watch measures beside loss and error, where there is one."""
    if around.watch is None:
        return {}
    model = state.network.outline
    images = last.counted(last.images)
    return around.watch.measure(state.optimizer, model, last.batch, images, end_of_epoch)


def _log(
    state: State, around: Surroundings, now: Rates, last: _Passed, vitals: dict[str, Any]
) -> Sign:
    """Write the training row since the last one; the only place that reads the device."""
    own_spread = spread(last.counted(last.logits))
    seen = state.network.sum(torch.cat([state.sums, own_spread.double()[None]]))
    images, loss, top1, top5, spreads = seen.tolist()
    state.sums.zero_()
    position, feed = state.position, around.feed
    epochs = position.step / feed.steps_per_epoch
    around.metrics.append(
        {
            "step": position.step,
            "epoch": epochs,
            "split": "train",
            "loss": loss / images,
            "top1_error": 1.0 - top1 / images,
            "top5_error": 1.0 - top5 / images,
            "learning_rate": now.weights,
            "images": position.images,
            "images_per_second": images_per_second(position),
            "data_wait_fraction": data_wait_fraction(position),
            **vitals,
        }
    )
    return Sign(
        step=position.step,
        epochs=epochs,
        images=position.images,
        loss=loss / images,
        spread=spreads / state.network.slice_count,
        lr=around.config.optimizer.lr,
        warming_up=position.step < warmup_steps(around.config.schedule, _moment(state, around)),
        rows=len(last.images),
    )


def _note(sign: Sign, position: Position) -> str:
    speed, wait = images_per_second(position), data_wait_fraction(position)
    return f"loss {sign.loss:.3f}, {speed:.0f} images/s, waiting for data {wait:.0%}"


def _ends_evaluated_epoch(step: int, around: Surroundings) -> bool:
    epoch, rest = divmod(step, around.feed.steps_per_epoch)
    return rest == 0 and epoch % around.config.train.evaluate_every_epochs == 0


def _validate(state: State, around: Surroundings, meter: Meter) -> None:
    """Measure the validation error, for the schedule, and keep the best weights."""
    error, position = _measure(state, around, meter, "val"), state.position
    if position.best_error is None or error < position.best_error:
        around.keep_best()
        position = replace(position, best_error=error)
    state.position = replace(position, validation_errors=[*position.validation_errors, error])


def _measure(state: State, around: Surroundings, meter: Meter, split: str) -> float:
    """The validation error, written down; for "pause" it has no consequence for the run."""
    position = state.position
    epochs = position.step / around.feed.steps_per_epoch
    measured = around.validate()
    if around.config.train.alarm:  # what the last steps did shows in no training loss
        check_finite(measured.loss, position.step, around.config.optimizer.lr)
    state.network.module.train()
    error = measured.top1_error
    around.metrics.append(
        {
            "step": position.step,
            "epoch": epochs,
            "split": split,
            "loss": measured.loss,
            "top1_error": error,
            "top5_error": measured.top5_error,
        }
    )
    meter.say(
        f"epoch {shown_epochs(epochs)}: validation loss {measured.loss:.3f}, top-1 error "
        f"{error:.2%} ({measured.images} images), {duration(position.train_seconds)} of training"
    )
    return error


class Saving:
    """Saves the state of a run, and knows when to.

    The end of an epoch of a small set comes every few seconds, while the full network's state is
    half a gigabyte. So an epoch's end is passed over until what could be lost is `_WORTH` times
    what saving takes.

    Attributes:
        step: that was saved last, or where the run began.
    """

    _WORTH = 10

    def __init__(self, around: Surroundings, step: int) -> None:
        self._around = around
        self._config = around.config.checkpoint
        self._seconds = 0.0
        self._last = time.monotonic()
        self._wished = False
        self.step = step

    def is_set(self, step: int, end_of_epoch: bool) -> bool:
        """Whether the user has set that this step is saved; the same in every process."""
        every = self._config.every_steps
        return every is not None and (end_of_epoch or step % every == 0)

    def is_time(self, end_of_epoch: bool) -> bool:
        """Whether the clock says so, where the user has set no steps; said once for each save.

        Several processes agree on it in the next step, when it has been said already.
        """
        if self._config.every_steps is not None or self._wished:
            return False
        since = time.monotonic() - self._last
        least = self._WORTH * self._seconds if end_of_epoch else 60.0 * self._config.every_minutes
        self._wished = since >= least
        return self._wished

    def save(self, state: State) -> None:
        """Save it now; all processes of a run must do so together."""
        began, around = time.monotonic(), self._around
        state.position = replace(state.position, metrics_bytes=around.metrics.length)
        tensors = state.tensors(keep=around.world.is_first)
        if around.world.is_first:
            around.metrics.flush()  # or a power cut could leave a checkpoint whose rows are gone
            save_checkpoint(around.checkpoint_folder, state.position, tensors)
        self.step, self._last = state.position.step, time.monotonic()
        self._seconds = self._last - began
        self._wished = False


def _moment(state: State, around: Surroundings) -> Moment:
    return Moment(
        step=state.position.step,
        total_steps=total_steps(around.config, around.feed.steps_per_epoch),
        steps_per_epoch=around.feed.steps_per_epoch,
        validation_errors=state.position.validation_errors,
    )


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


class _Clock:
    """Seconds of training, and of waiting for data among them; validation does not count."""

    def __init__(self) -> None:
        self._train = self._wait = 0.0

    @contextmanager
    def training(self) -> Iterator[None]:
        """Count this time as training."""
        began = time.perf_counter()
        yield
        self._train += time.perf_counter() - began

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count this time as training, and as waiting for data."""
        began = self._train
        with self.training():
            yield
        self._wait += self._train - began

    def after_step(self, position: Position, images: int) -> Position:
        """The position one step on; the seconds since the last call are added to it."""
        after = replace(
            position,
            step=position.step + 1,
            images=position.images + images,
            train_seconds=position.train_seconds + self._train,
            wait_seconds=position.wait_seconds + self._wait,
        )
        self._train = self._wait = 0.0
        return after


def images_per_second(position: Position) -> float:
    """Training speed so far, over all the processes that the run has had."""
    return position.images / max(position.train_seconds, 1e-9)


def data_wait_fraction(position: Position) -> float:
    """The share of the training time that was spent waiting for data."""
    return position.wait_seconds / max(position.train_seconds, 1e-9)
