"""The configuration of a run: frozen values, validated where they are made. Free of torch.

A `Config` is complete: written to `config.json` it says everything that decides the run, and read
back (`--config FILE`) it makes the same run again.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from alexnet.errors import UserError
from alexnet.suggest import unknown

_LAYERS = (
    *("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"),
    *("local3", "local4", "fc10"),  # of the networks for CIFAR-10
)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)


def _require_finite(name: str, value: float) -> None:
    _require(0.0 <= value < math.inf, f"{name} must not be negative, nor infinite")


@dataclass(frozen=True)
class ModelConfig:
    """Which network. A change of None keeps what the variant's table says."""

    variant: str = "paper"
    activation: Literal["relu", "tanh", "sigmoid"] | None = None
    pooling: Literal["overlapping", "non-overlapping"] | None = None
    normalization: bool | None = None
    columns: int | None = None
    dropout: float | None = None
    image_size: int | None = None  # pixels the network sees; 224 for most variants
    width: float = 1.0  # multiplies every layer's width; below 1 for tests and small machines
    initial_scale: float = 1.0  # multiplies the deviation of all initial weights

    def __post_init__(self) -> None:
        _require(self.columns is None or self.columns >= 1, "model.columns must be at least 1")
        _require(
            self.dropout is None or 0.0 <= self.dropout < 1.0, "model.dropout must be in [0, 1)"
        )
        _require(0.0 < self.width <= 100.0, "model.width must be in (0, 100]")
        _require(0.0 < self.initial_scale < math.inf, "model.initial_scale must be positive")


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from and how they are held."""

    source: str = "digits"  # a folder, an archive, or a name: digits, cifar10
    size: int = 256  # pixels of the stored square: short side resized to this, centre cut out
    validation_fraction: float = 0.2  # of a source that has no validation split of its own
    workers: int = 2  # threads that cut and decode; the result is the same for any number
    # Where decoded pixels live: the fastest place they fit, or the one named here.
    pixels: Literal["auto", "device", "device-yuv", "host", "stream"] = "auto"
    mean: Literal["image", "channel"] = "image"  # section 2 subtracts the mean of each pixel

    def __post_init__(self) -> None:
        _require(self.size >= 1, "data.size must be at least 1")
        _require(self.workers >= 1, "data.workers must be at least 1")
        _require(0.0 < self.validation_fraction < 1.0, "data.validation_fraction must be in (0, 1)")


@dataclass(frozen=True)
class AugmentConfig:
    """Section 4.1: translations, reflections and colour noise, on training images only."""

    crop: Literal["random", "center"] = "random"
    mirror: bool = True
    # "paper": eigenvalues on [0, 1] pixels, as most ports read section 4.1;
    # "original": standard deviations on 0..255 pixels, then the image divided by 1 + strength.
    color: Literal["none", "paper", "original"] = "paper"
    color_strength: float = 0.1
    color_epochs: int | None = None  # colour noise in the first so many epochs; None: always

    def __post_init__(self) -> None:
        _require_finite("augment.color_strength", self.color_strength)


@dataclass(frozen=True)
class OptimizerConfig:
    """Section 5's update rule, or one of torch's."""

    kind: Literal["2012", "lars", "sgd", "adamw"] = "2012"
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0005  # never on biases with kinds "2012" and "lars"
    lars_eta: float = 0.001  # lars: trust coefficient
    lars_rule: Literal["scale", "clip"] = "scale"  # lars: the records' formula, or NVIDIA's LARC
    bias_lr_factor: float = 1.0  # the authors' files: 2.0
    # The bias rate follows the schedule down to this fraction of its start (authors: 0.1).
    bias_lr_floor: float = 0.0
    # (layer, first epoch, factor): from that epoch (counted from 1) the layer's rate is the
    # general one times factor; 0 freezes it altogether, as the authors froze conv1.
    layer_rates: tuple[tuple[str, int, float], ...] = ()
    # (layer, decay) in place of weight_decay: the authors' CIFAR-10 nets differ by layer.
    layer_decays: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        _require(0.0 < self.lr < math.inf, "optimizer.lr must be positive")
        _require(0.0 <= self.momentum < 1.0, "optimizer.momentum must be in [0, 1)")
        _require_finite("optimizer.weight_decay", self.weight_decay)
        _require_finite("optimizer.bias_lr_factor", self.bias_lr_factor)
        _require_finite("optimizer.bias_lr_floor", self.bias_lr_floor)
        _require(0.0 < self.lars_eta < math.inf, "optimizer.lars_eta must be positive")
        for layer, _, factor in self.layer_rates:
            _require(layer in _LAYERS, unknown("layer in optimizer.layer_rates:", layer, _LAYERS))
            _require_finite("optimizer.layer_rates", factor)
        for layer, decay in self.layer_decays:
            _require(layer in _LAYERS, unknown("layer in optimizer.layer_decays:", layer, _LAYERS))
            _require_finite("optimizer.layer_decays", decay)


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate changes; every kind may begin with a linear warm-up."""

    kind: Literal["constant", "plateau", "steps", "polynomial", "cosine"] = "constant"
    warmup_epochs: float = 0.0
    factor: float = 0.1  # plateau, steps: what a drop multiplies the rate by
    patience: int = 3  # plateau: evaluations without improvement before a drop
    drops: int = 3  # plateau: after so many drops the next plateau ends the run (section 5)
    milestones: tuple[int, ...] = ()  # steps: epochs (counted from 1) that begin with a drop
    power: float = 1.0  # polynomial
    final_factor: float = 0.0  # polynomial, cosine: where the rate ends, relative to its start

    def __post_init__(self) -> None:
        _require_finite("schedule.warmup_epochs", self.warmup_epochs)
        _require_finite("schedule.power", self.power)
        _require(0.0 < self.factor < 1.0, "schedule.factor must be in (0, 1)")
        _require(self.patience >= 1, "schedule.patience must be at least 1")
        _require(self.drops >= 0, "schedule.drops must not be negative")
        _require(0.0 <= self.final_factor <= 1.0, "schedule.final_factor must be in [0, 1]")
        _require(
            list(self.milestones) == sorted(set(self.milestones)),
            "schedule.milestones must be rising epochs",
        )


@dataclass(frozen=True)
class TrainConfig:
    """How long, in what batches, and on what."""

    epochs: int = 90
    steps: int | None = None  # ends the run after so many steps, whatever epochs says
    batch_size: int = 128  # images in an update, on all devices together
    # Images that pass through a device at once; several passes make up the batch. None: all.
    micro_batch_size: int | None = None
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    log_every_steps: int = 10
    evaluate_every_epochs: int = 1
    alarm: bool = True  # stop a run that visibly cannot learn
    timeout_seconds: float = 600.0  # that a process may keep others waiting before they give up
    init: str | None = None  # a run or weights file whose weights this run begins with

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "train.epochs must be at least 1")
        _require(self.steps is None or self.steps >= 1, "train.steps must be at least 1")
        _require(self.batch_size >= 1, "train.batch_size must be at least 1")
        _require(
            self.micro_batch_size is None or self.micro_batch_size >= 1,
            "train.micro_batch_size must be at least 1",
        )
        _require(0.0 < self.timeout_seconds <= 1e7, "train.timeout_seconds must be in (0, 1e7]")
        _require(0 <= self.seed < 2**32, "train.seed must be in [0, 2^32)")
        _require(self.log_every_steps >= 1, "train.log_every_steps must be at least 1")
        _require(self.evaluate_every_epochs >= 1, "train.evaluate_every_epochs must be at least 1")


@dataclass(frozen=True)
class CheckpointConfig:
    """When the state of a run is saved, beside ends of epochs (`training.loop.Saving`)."""

    every_steps: int | None = None
    every_minutes: float = 10.0

    def __post_init__(self) -> None:
        _require(
            self.every_steps is None or self.every_steps >= 1,
            "checkpoint.every_steps must be at least 1",
        )
        _require(self.every_minutes > 0.0, "checkpoint.every_minutes must be positive")


@dataclass(frozen=True)
class EvaluationConfig:
    """How the error rates of a run are measured when it ends."""

    views: Literal[1, 9, 10] = 1  # 9: the authors' grid of crops for CIFAR-10
    batch_size: int = 128

    def __post_init__(self) -> None:
        _require(self.batch_size >= 1, "evaluation.batch_size must be at least 1")


@dataclass(frozen=True)
class Config:
    """One run, completely."""

    recipe: str = "default"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def to_json(self) -> str:
        """The configuration as an indented JSON document."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def from_json(text: str) -> Config:
    """Read what `Config.to_json` wrote.

    Raises:
        UserError: not JSON, an unknown key, or a value of the wrong type or out of range.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UserError(f"the configuration is not JSON: {error}") from None
    return typing.cast("Config", _read(Config, document, ""))


def read_config(path: Path) -> Config:
    """Read a configuration file; errors name the file.

    Raises:
        UserError: the file cannot be read or is not a configuration.
    """
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the configuration {path}: {error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def override(config: Config, assignments: Iterable[str]) -> Config:
    """Apply `section.key=value` assignments, values written as JSON or as plain words.

    Raises:
        UserError: an unknown key, or a value of the wrong type or out of range.
    """
    for assignment in assignments:
        _, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"--set wants section.key=value, not {assignment!r}")
        path = key_of(assignment)
        config = change(config, path, _literal(path, text.strip()))
    return config


def written(assignments: Sequence[str] | Mapping[str, Any]) -> Sequence[str]:
    """`section.key=value` assignments, also of a mapping from keys to values.

    Raises:
        UserError: a single string, whose letters nobody means.
    """
    if isinstance(assignments, str):
        raise UserError(
            f"assignments wants a list or a mapping, such as {{'optimizer.lr': 0.01}}, not the "
            f"string {assignments!r}"
        )
    if not isinstance(assignments, Mapping):
        return assignments
    return [f"{key}={json.dumps(value, default=str)}" for key, value in assignments.items()]


def key_of(assignment: str) -> str:
    """The `section.key` that an assignment sets."""
    return assignment.partition("=")[0].strip()


def change(config: Config, path: str, value: Any) -> Config:
    """The configuration with one `section.key` changed; errors as for `override`."""
    section, _, key = path.partition(".")
    sections = {f.name: getattr(config, f.name) for f in fields(config) if f.name != "recipe"}
    if section not in sections or not key:
        raise UserError(unknown("configuration key", path, keys()))
    current = sections[section]
    if key not in {f.name for f in fields(current)}:
        close = [name for name in keys() if name.split(".")[0] == section]
        raise UserError(unknown("configuration key", path, close))
    hints = _hints(type(current))  # type: ignore[arg-type]
    checked = _convert(hints[key], value, path)
    return replace(config, **{section: replace(current, **{key: checked})})


def setting(config: Config, path: str) -> Any:
    """The value of `section.key`; errors as for `override`."""
    section, _, key = path.partition(".")
    if path not in keys():
        raise UserError(unknown("configuration key", path, keys()))
    return getattr(getattr(config, section), key)


def keys() -> list[str]:
    """Every `section.key` there is."""
    return [
        f"{section.name}.{key.name}"
        for section in fields(Config)
        if is_dataclass(kind := _hints(Config)[section.name])
        for key in fields(kind)
    ]


def _literal(path: str, text: str) -> Any:
    """A value as written: a plain word where the key takes words, else JSON."""
    if _takes_word(path, text) and not text.startswith('"'):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return {"none": None, "True": True, "False": False, "None": None}.get(text, text)


def _takes_word(path: str, word: str) -> bool:
    section, _, key = path.partition(".")
    hint = _hints(_hints(Config)[section]).get(key) if path in keys() else None
    return hint is str or (typing.get_origin(hint) is Literal and word in typing.get_args(hint))


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read(kind: Any, document: Any, path: str) -> Any:
    """A dataclass from a JSON object; missing keys keep their defaults."""
    if not isinstance(document, Mapping):
        raise UserError(f"{path or 'the configuration'} must be a JSON object")
    hints = _hints(kind)
    values = {}
    for key, value in document.items():
        name = f"{path}.{key}" if path else key
        if key not in hints:
            known = [f"{path}.{known}" if path else known for known in hints]
            raise UserError(unknown("configuration key", name, known))
        values[key] = (
            _read(hints[key], value, name)
            if is_dataclass(hints[key])
            else _convert(hints[key], value, name)
        )
    return kind(**values)


def _convert(hint: Any, value: Any, name: str) -> Any:
    """The value as the type a field declares, or a UserError that says what is wanted."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, name)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise UserError(unknown(f"value for {name}:", str(value), map(str, arguments)))
        return value
    if origin is tuple and isinstance(value, list | tuple):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_convert(arguments[0], item, name) for item in value)
        if len(arguments) == len(value):
            return tuple(_convert(a, item, name) for a, item in zip(arguments, value, strict=True))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise UserError(f"{name} is too large a number") from None
    if (
        isinstance(hint, type)
        and isinstance(value, hint)
        and (hint is bool) == (type(value) is bool)
    ):
        return value
    wanted = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise UserError(f"{name} must be of type {wanted}, not {value!r}")
