"""A run from beginning to end: its directory, its data, the loop, the final measurement."""

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from alexnet.config import Config, override, read_config, setting
from alexnet.data.batches import TrainingFeed
from alexnet.data.peek import glance
from alexnet.data.sources import NAMES, open_source
from alexnet.errors import PausedRunError, UserError
from alexnet.evaluation.evaluate import Evaluation, evaluate_model
from alexnet.evaluation.summary import write_run_report
from alexnet.files import CannotWriteError, write_text
from alexnet.model.build import Network, build_network
from alexnet.model.catalog import resolve
from alexnet.model.forms import choose_forms, use_forms
from alexnet.model.weights import load, save_weights
from alexnet.parallel.environment import describe_environment
from alexnet.parallel.world import World, make_world
from alexnet.progress import say, stage
from alexnet.recipes import DataFacts, find_recipe, reasons
from alexnet.training.checkpoint import Position, load_checkpoint
from alexnet.training.data import Data, check_same_data, load_data
from alexnet.training.finetune import fitted, freeze, start_weights
from alexnet.training.loop import (
    State,
    Surroundings,
    data_wait_fraction,
    images_per_second,
    train_loop,
)
from alexnet.training.metrics import MetricsLog, read_metrics
from alexnet.training.optimizer import build_optimizer
from alexnet.training.signals import stop_request
from alexnet.training.watch import Watch


def train(
    data: str | None = None,
    recipe: str | None = None,
    out: str | Path | None = None,
    assignments: Sequence[str] = (),
    config: Config | None = None,
    init: str | Path | None = None,
) -> dict[str, Any]:
    """Train a network and write its run directory.

    Args:
        data: a folder, an archive, or a name (digits, cifar10); by default what the
            configuration says, else the embedded digits.
        recipe: a name in `alexnet.recipes`, used where no `config` is given; by default
            "default", or "finetune" with `init`.
        out: the run directory; by default runs/NAME, numbered if it exists.
        assignments: `section.key=value` changes on top of the recipe or configuration.
        config: a complete configuration in place of a recipe.
        init: a run or weights file whose weights this run begins with.

    Returns:
        The JSON document of the command line's contract (`run`, `steps`, `top1_error`, …).

    Raises:
        UserError: something the user can mend.
        InterruptedRunError: the run was asked to stop; `resume` continues it.
    """
    config = resolve_config(data, recipe, assignments, config, None if init is None else str(init))
    return resume(create_run(config, None if out is None else Path(out)))


def resume(run: str | Path, enough: Callable[[], bool] | None = None) -> dict[str, Any]:
    """Continue a run from its last checkpoint, or from the start if it never saved.

    Args:
        run: its directory.
        enough: asked before every step; where it says so the run stops as if interrupted.

    Raises:
        UserError, InterruptedRunError: as for `train`.
    """
    run = Path(run)
    if not (run / "config.json").exists():
        raise UserError(f"{run} is not a run: it holds no config.json")
    with _sole_use(run):
        result = run / "result.json"
        if result.exists():
            say(f"{run} is finished already")
            return dict(json.loads(result.read_text(encoding="utf-8")))
        try:
            return _run(run, read_config(run / "config.json"), enough)
        except CannotWriteError as error:
            raise CannotWriteError(
                f"{error}; what was saved before is intact, then: alexnet train --resume {run}"
            ) from error


def take_on(run: Path, epochs: int, data: Data | None = None) -> Data:
    """Train a run until so many epochs are done and pause there, or to its end if that is earlier.

    Args:
        run: its directory.
        epochs: where to pause.
        data: its images, if another run with the same images has decoded them.

    Returns:
        The images, for the next run.

    Raises:
        UserError, InterruptedRunError: as for `train`.
    """
    with _sole_use(run):
        config = read_config(run / "config.json")
        world = make_world(config.train.device, config.train.precision)
        data = data or load_data(config, world)
        if not (run / "result.json").exists():
            try:
                _run(run, config, data=data, pause_epochs=epochs)
            except PausedRunError:
                say(f"paused after {epochs} epochs")
    return data


def resolve_config(
    data: str | None,
    recipe: str | None,
    assignments: Sequence[str],
    config: Config | None = None,
    init: str | None = None,
) -> Config:
    """The complete configuration of a run, every choice made; arguments as for `train`."""
    facts = None
    if config is None:
        source = open_source(data or "digits", validation_fraction=_fraction(assignments))
        seen = glance(source.train)
        facts = DataFacts(
            len(source.train),
            len(source.classes),
            mirror=source.mirror,
            crop=source.crop,
            side=seen.side,
            gray=seen.gray,
            batch_size=_number(assignments, "train.batch_size"),
            epochs=_number(assignments, "train.epochs"),
        )
        config = find_recipe(recipe or ("finetune" if init else "default"))(facts)
    if init is not None:
        config = fitted(config, init)
    if data is not None:
        config = replace(config, data=replace(config.data, source=_absolute(data)))
    chosen, config = config, override(config, assignments)
    resolve(config.model)  # raises early what cannot be built
    if facts and chosen.recipe in ("default", "finetune"):
        for line in reasons(facts, chosen, config):
            say(line)
    return config


def create_run(config: Config, out: Path | None) -> Path:
    """Make the run directory and write the configuration into it.

    Raises:
        UserError: the directory exists already, or cannot be made.
    """
    if out is None:
        out = _numbered(Path("runs") / f"{Path(config.data.source).name}-{config.recipe}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        hint = f"continue it with --resume {out}, or " if (out / "config.json").exists() else ""
        raise UserError(f"{out} exists already; {hint}choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the run directory {out}: {error.strerror}") from None
    write_text(out / "config.json", config.to_json())
    return out


def _run(
    run: Path,
    config: Config,
    enough: Callable[[], bool] | None = None,
    data: Data | None = None,
    pause_epochs: int | None = None,
) -> dict[str, Any]:
    world = make_world(config.train.device, config.train.precision)
    write_text(run / "environment.json", json.dumps(describe_environment(world), indent=2) + "\n")
    began = time.monotonic()
    data = data or load_data(config, world)
    check_same_data(run, data)
    state, metrics = _state(run, config, world, data)
    feed = _feed(config, data, state.model)
    with stop_request(enough) as stop:
        around = Surroundings(
            config=config,
            world=world,
            feed=feed,
            validate=lambda: evaluate_model(
                state.model,
                data.validation,
                1,
                world,
                config.evaluation.batch_size,
                show_progress=False,
            ),
            keep_best=lambda: save_weights(run / "weights.safetensors", state.model),
            checkpoint_folder=run / "checkpoints",
            metrics=metrics,
            stop=stop,
            pause_step=None if pause_epochs is None else pause_epochs * feed.steps_per_epoch,
            watch=Watch(
                run,
                feed,
                len(data.source.classes),
                config.optimizer.lr,
                config.schedule.warmup_epochs,
                len(data.validation),
            ),
        )
        _announce(run, config, world, data, state)
        train_loop(state, around)
    best = load(run)  # the weights that a user gets
    measured = evaluate_model(
        best, data.validation, config.evaluation.views, world, config.evaluation.batch_size
    )
    result = _result(run, state.position, around.feed, measured, time.monotonic() - began)
    if pause_epochs is None:  # a trial of a search is not looked at one by one
        with stage("report"):
            write_run_report(
                run, best, config, read_metrics(run / "metrics.jsonl"), measured, data.validation
            )
    write_text(run / "result.json", json.dumps(result, indent=2) + "\n")
    return result


def _state(run: Path, config: Config, world: World, data: Data) -> tuple[State, MetricsLog]:
    """The state of the run: new, or as the last checkpoint has it."""
    model = build_network(resolve(config.model), len(data.source.classes), config.train.seed)
    model.classes = tuple(data.source.classes)
    model.stored_size = config.data.size
    model.training_data = data.manifest()
    model.mean.copy_(data.mean(config.data.mean, model.variant.image_size))
    saved = load_checkpoint(run / "checkpoints")
    if not saved:
        start_weights(model, config)
    freeze(model, config)
    model = model.to(world.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    use_forms(model, _forms(run, model, world))
    state = State(
        model=model,
        optimizer=build_optimizer(model, config.optimizer),
        sums=torch.zeros(4, dtype=torch.float64, device=world.device),
    )
    if saved:
        state.restore(*saved)
        say(f"continuing {run} from step {state.position.step}")
    return state, MetricsLog(run / "metrics.jsonl", state.position.metrics_bytes)


def _forms(run: Path, model: Network, world: World) -> dict[str, str]:
    """How the run computes its convolutions: chosen once, or resumption would change bits."""
    path = run / "forms.json"
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    dtype = torch.bfloat16 if world.precision == "bf16" else torch.float32
    chosen = choose_forms(model, dtype)
    write_text(path, json.dumps(chosen, indent=2) + "\n")
    return chosen


def _feed(config: Config, data: Data, model: Network) -> TrainingFeed:
    return TrainingFeed(
        images=data.train,
        components=data.statistics.components,
        augment=config.augment,
        crop_size=model.variant.image_size,
        batch_size=config.train.batch_size,
        seed=config.train.seed,
    )


def _announce(run: Path, config: Config, world: World, data: Data, state: State) -> None:
    parameters = sum(parameter.numel() for parameter in state.model.parameters())
    say(
        f"{state.model.variant.name}: {parameters:,} parameters, {len(data.source.classes)} "
        f"classes, {len(data.train)} training and {len(data.validation)} validation images, "
        f"{world.device.type} in {world.precision}"
    )
    say(
        f"recipe {config.recipe}: rate {config.optimizer.lr:g} ({config.optimizer.kind}, "
        f"{config.schedule.kind}), batches of {config.train.batch_size}, "
        f"{config.train.epochs} epochs; everything is in {run / 'config.json'}"
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


@contextmanager
def _sole_use(run: Path) -> Iterator[None]:
    """Hold the run's lock, which the operating system releases however the process ends."""
    with (run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another process is training {run}; wait for it or stop it") from None
        yield


def _numbered(path: Path) -> Path:
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _absolute(data: str) -> str:
    """A path as one that still holds when the run is resumed from elsewhere; names stay."""
    return data if data in NAMES or not Path(data).exists() else str(Path(data).resolve())


def _number(assignments: Sequence[str], key: str) -> int | None:
    """What the user has set a number to, if anything."""
    wanted = [a for a in assignments if a.startswith(f"{key}=")]
    return int(setting(override(Config(), wanted), key)) if wanted else None


def _fraction(assignments: Sequence[str]) -> float:
    wanted = [a for a in assignments if a.startswith("data.validation_fraction=")]
    return override(Config(), wanted).data.validation_fraction
