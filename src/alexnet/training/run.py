"""A run from beginning to end: its directory, its data, the loop, the final measurement."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alexnet.commands import quoted_command
from alexnet.config import Config, from_json
from alexnet.data.batches import TrainingFeed
from alexnet.errors import (
    CannotLearnError,
    InterruptedRunError,
    PausedRunError,
    UserError,
    in_a_line,
)
from alexnet.evaluation.evaluate import Evaluation, evaluate_model
from alexnet.evaluation.summary import write_run_report
from alexnet.files import CannotWriteError, at_home, read_json, write_text
from alexnet.model.build import Network, build_network
from alexnet.model.catalog import layer_table, resolve
from alexnet.model.forms import choose_forms, use_forms
from alexnet.model.header import are_whole
from alexnet.model.weights import load, save_weights
from alexnet.parallel.environment import describe_environment
from alexnet.parallel.failure import failing_clearly
from alexnet.parallel.layouts import Placed, check_placeable, place
from alexnet.parallel.world import World, make_world
from alexnet.progress import say, shown_epochs, stage
from alexnet.rows import RowLog, read_rows
from alexnet.training.checkpoint import Position, load_checkpoint
from alexnet.training.choices import resolve_config
from alexnet.training.data import Data, check_same_data, load_data
from alexnet.training.directory import config_of, create_run, gone_unless_begun, sole_use
from alexnet.training.finetune import freeze, start_weights
from alexnet.training.loop import (
    State,
    Surroundings,
    data_wait_fraction,
    images_per_second,
    train_loop,
)
from alexnet.training.optimizer import allow_narrow_gradients, build_optimizer
from alexnet.training.signals import stop_request
from alexnet.training.watch import Watch, remember_verdict


def train(
    data: str | Path | None = None,
    recipe: str | None = None,
    out: str | Path | None = None,
    assignments: Sequence[str] | Mapping[str, Any] = (),
    config: Config | str | Path | None = None,
    init: str | Path | None = None,
    layout: str = "auto",
) -> dict[str, Any]:
    """Train a network and write its run directory.

    In processes that torchrun has started, all must call alike; they train one network together.

    Args:
        data: a folder, an archive, or a name (digits, cifar10); by default what the
            configuration says, else the embedded digits.
        recipe: a name in `alexnet.recipes`, used where no `config` is given; by default
            "default", or "finetune" with `init`.
        out: the run directory; by default runs/NAME, numbered if it exists.
        assignments: changes on top of the recipe or configuration, {"section.key": value} or a
            list of "section.key=value".
        config: a complete configuration in place of a recipe, or the path of a config.json.
        init: a run or weights file whose weights this run begins with.
        layout: how several processes share the network: auto, data, columns or hybrid.

    Returns:
        The JSON document of the command line's contract (`run`, `steps`, `top1_error`, …).

    Raises:
        UserError: something the user can mend.
        InterruptedRunError: the run was asked to stop, as by Ctrl-C, and is saved;
            `alexnet.resume(error.run)` continues it.
    """
    config = resolve_config(data, recipe, assignments, config, None if init is None else str(init))
    world = _world(config)
    with failing_clearly(world):
        check_placeable(layout, resolve(config.model), world.size)
        created = world.is_first and str(create_run(config, None if out is None else at_home(out)))
        config = from_json(world.tell(config.to_json()))  # a budget is measured, and differs
        run = Path(world.tell(created))
        with gone_unless_begun(run) if world.is_first else nullcontext():
            return _continue(run, config, world, layout)


def resume(
    run: str | Path, enough: Callable[[], bool] | None = None, layout: str = "auto"
) -> dict[str, Any]:
    """Continue a run from its last checkpoint, or from the start if it never saved.

    The number of processes and their layout may differ from those that saved.

    Args:
        run: its directory.
        enough: asked before every step; where it says so the run stops as if interrupted.
        layout: as for `train`.

    Raises:
        UserError, InterruptedRunError: as for `train`.
    """
    run = at_home(run)
    config = config_of(run)
    world = _world(config)
    with failing_clearly(world):
        return _continue(run, config, world, layout, enough)


def _world(config: Config) -> World:
    train = config.train
    return make_world(train.device, train.precision, train.timeout_seconds)


def _continue(
    run: Path,
    config: Config,
    world: World,
    layout: str,
    enough: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """A run to its end, or its result if it has ended."""
    with sole_use(run) if world.is_first else nullcontext():
        path = run / "result.json"
        done = world.is_first and path.exists() and read_json(path)
        done = world.tell(done)
        if done:
            say(f"{run} is finished already")
            return {**done, "run": str(run)}  # it may have been moved since
        try:
            return _run(run, config, world, layout, enough)
        except CannotWriteError as error:
            raise CannotWriteError(
                f"{error}; what was saved before is intact, then: "
                f"{quoted_command('train', '--resume', run)}"
            ) from error


def take_on(run: Path, epochs: float, data: Data | None = None) -> Data:
    """Train a run until so many epochs are done and pause there, or to its end if that is earlier.

    It is evaluated where it pauses, and goes on as if it had not.

    Args:
        run: its directory.
        epochs: where to pause, rounded down to whole steps, but at least one.
        data: its images, if another run with the same images has decoded them.

    Returns:
        The images, for the next run.

    Raises:
        UserError, InterruptedRunError: as for `train`.
    """
    with sole_use(run):
        config = config_of(run)
        world = _world(config)
        data = data or load_data(config, world)
        if not (run / "result.json").exists():
            try:
                _run(run, config, world, data=data, pause_epochs=epochs)
            except PausedRunError:
                say(f"paused after {shown_epochs(epochs)} epochs")
    return data


def _run(
    run: Path,
    config: Config,
    world: World,
    layout: str = "auto",
    enough: Callable[[], bool] | None = None,
    data: Data | None = None,
    pause_epochs: float | None = None,
) -> dict[str, Any]:
    began = time.monotonic()
    check_placeable(layout, resolve(config.model), world.size)
    data = data or load_data(config, world)
    if world.is_first:
        check_same_data(run, data)
    state, metrics = _state(run, config, world, data, layout)
    network = state.network
    if world.is_first:
        environment = describe_environment(world) | {"layout": network.layout}
        write_text(run / "environment.json", json.dumps(environment, indent=2) + "\n")
    feed = _feed(config, data, network)
    with stop_request(enough) as stop:
        around = Surroundings(
            config=config,
            world=world,
            feed=feed,
            validate=lambda: evaluate_model(
                network.whole(),
                data.validation,
                1,
                world,
                config.evaluation.batch_size,
                show_progress=False,
            ),
            keep_best=lambda: _keep_best(run, network, world),
            checkpoint_folder=run / "checkpoints",
            metrics=metrics,
            stop=stop,
            pause_step=_steps_until(pause_epochs, feed.steps_per_epoch),
            watch=_watch(run, config, world, data, network, feed),
        )
        _announce(run, config, world, data, network)
        try:
            train_loop(state, around)
        except CannotLearnError as verdict:
            if world.is_first:
                remember_verdict(run, verdict)
            raise
    best = _best(run, network, world)  # the weights that a user gets
    measured = evaluate_model(
        best, data.validation, config.evaluation.views, world, config.evaluation.batch_size
    )
    result = _result(run, state.position, around.feed, measured, time.monotonic() - began)
    if world.is_first:
        if pause_epochs is None:  # a trial of a search is not looked at one by one
            _report(run, best, config, measured, data)
        write_text(run / "result.json", json.dumps(result, indent=2) + "\n")
    if stop.received and pause_epochs is not None:
        raise InterruptedRunError(f"stopped, {run} is finished")  # others would come after it
    return result


def _steps_until(epochs: float | None, steps_per_epoch: int) -> int | None:
    if epochs is None:
        return None
    return max(1, math.floor(epochs * steps_per_epoch + 1e-6))  # a third of 9 steps is not 2.99


def _report(run: Path, best: Network, config: Config, measured: Evaluation, data: Data) -> None:
    with stage("report"):
        write_run_report(
            run, best, config, read_rows(run / "metrics.jsonl"), measured, data.validation
        )


def _watch(
    run: Path, config: Config, world: World, data: Data, network: Placed, feed: TrainingFeed
) -> Watch | None:
    """The watch, in the first process."""
    if not world.is_first:
        return None
    return Watch(
        run,
        feed,
        len(data.source.classes),
        config.optimizer.lr,
        config.schedule.warmup_epochs,
        data.validation.labels,
        config.model,
        sees_units=network.model_group is None,
    )


def _state(
    run: Path, config: Config, world: World, data: Data, layout: str = "auto"
) -> tuple[State, RowLog]:
    """The state of the run: new, or as the last checkpoint has it; each process with its part."""
    model = build_network(resolve(config.model), len(data.source.classes), config.train.seed)
    model.classes = tuple(data.source.classes)
    model.stored_size = config.data.size
    model.training_data = data.manifest()
    model.mean.copy_(data.mean(config.data.mean, model.variant.image_size))
    saved = load_checkpoint(run / "checkpoints") if world.is_first else None
    position = world.tell(asdict(saved[0]) if saved else None)
    if not position:
        start_weights(model, config)
    freeze(model, config)
    network = place(model, layout, world, config.train.batch_size)
    del model  # each process keeps only its parts
    use_forms(network.convolutions, _forms(run, network.convolutions, world))
    state = State(
        network=network,
        optimizer=build_optimizer(network.parts, config.optimizer, network.model_group),
        sums=torch.zeros(4, dtype=torch.float64, device=world.device),
    )
    if world.precision == "bf16" and world.size == 1 and _is_one_pass(config):
        allow_narrow_gradients(state.optimizer)
    if position:
        _restore(run, state, Position(**position), world.tell_tensors(saved[1] if saved else {}))
        say(f"continuing {run} from step {state.position.step}")
    path = run / "metrics.jsonl" if world.is_first else None
    return state, RowLog(path, state.position.metrics_bytes)


def _restore(run: Path, state: State, position: Position, tensors: dict[str, Tensor]) -> None:
    if not are_whole(run / "weights.safetensors"):
        position = replace(position, best_error=None)  # the next evaluation writes them anew
    try:
        state.restore(position, tensors)
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"the checkpoints of {run} are not of the network and optimizer in its config.json "
            f"({in_a_line(error)}); restore that file, or start a new run with --config"
        ) from error


def _is_one_pass(config: Config) -> bool:
    """Whether each step's gradients come at once, not added up over passes."""
    most = config.train.micro_batch_size
    return most is None or most >= config.train.batch_size


def _forms(run: Path, model: Network, world: World) -> dict[str, str]:
    """How the run computes its convolutions: chosen once, or resumption would change bits."""
    path = run / "forms.json"
    if not world.is_first:
        return dict(world.tell(None))
    chosen = choose_forms(model, world.dtype)  # a run that goes on elsewhere is tested there, too
    if path.exists():
        return dict(world.tell(chosen | read_json(path)))
    write_text(path, json.dumps(chosen, indent=2) + "\n")
    return dict(world.tell(chosen))


def _keep_best(run: Path, network: Placed, world: World) -> None:
    model = network.whole()
    if world.is_first:
        save_weights(run / "weights.safetensors", model)


def _best(run: Path, network: Placed, world: World) -> Network:
    """The best weights, which the first process has on disk, on every process.

    Where they were lost after the last evaluation, those of the last step take their place.
    """
    if world.tell(world.is_first and not are_whole(run / "weights.safetensors")):
        _keep_best(run, network, world)
    if world.size == 1:
        return load(run)
    tensors = world.tell_tensors(load(run).state_dict() if world.is_first else {})
    best = network.blank()
    best.load_state_dict(tensors, assign=True)
    return best.eval()


def _feed(config: Config, data: Data, network: Placed) -> TrainingFeed:
    return TrainingFeed(
        images=data.train,
        components=data.statistics.components,
        augment=config.augment,
        crop_size=network.outline.variant.image_size,
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        micro_batch_size=config.train.micro_batch_size,
        slice_index=network.slice_index,
        slice_count=network.slice_count,
    )


def _announce(run: Path, config: Config, world: World, data: Data, network: Placed) -> None:
    variant, classes = network.outline.variant, len(data.source.classes)
    parameters = sum(layer.parameters for layer in layer_table(variant, classes))
    steps, epochs = config.train.steps, config.train.epochs
    length = f"{epochs} epochs" if steps is None else f"{steps:,} steps"
    spread = f" on {world.size} processes ({network.layout})" if world.size > 1 else ""
    say(
        f"{variant.name}: {parameters:,} parameters, {classes} "
        f"classes, {len(data.train)} training and {len(data.validation)} validation images, "
        f"{world.device.type} in {world.precision}{spread}"
    )
    say(
        f"recipe {config.recipe}: rate {config.optimizer.lr:g} ({config.optimizer.kind}, "
        f"{config.schedule.kind}), batches of {config.train.batch_size}, "
        f"{length}; everything is in {run / 'config.json'}"
    )


def _result(
    run: Path, position: Position, feed: TrainingFeed, measured: Evaluation, seconds: float
) -> dict[str, Any]:
    return {
        "run": str(run),
        "steps": position.step,
        "epochs": position.step / feed.steps_per_epoch,
        "seconds": seconds,
        "images_per_second": images_per_second(position),
        "data_wait_fraction": data_wait_fraction(position),
        **measured.to_json(),
    }
