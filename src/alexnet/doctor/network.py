"""The network of a run: its mean, its units, its first signal, and whom it contradicts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from alexnet.config import Config
from alexnet.data.augment import center_view
from alexnet.data.pixels import ImageSet
from alexnet.errors import UserError
from alexnet.findings import Finding
from alexnet.model.build import Network, build_network
from alexnet.model.catalog import resolve
from alexnet.model.header import are_whole
from alexnet.model.weights import load
from alexnet.training.checkpoint import checkpoints
from alexnet.training.checks import DEAD, dead_relus
from alexnet.training.vitals import quiet_activations, signal, silent_channels

_LOOKED_AT = 256  # images whose activations are measured
_AT_ONCE = 32  # of them, or examining a network would take more memory than training it
_MEAN_TOLERANCE = 6.0  # grey levels, of the mean of a channel
_STANDARD_ERRORS = 6.0  # of a mean over a sample
_SATURATED = 0.9  # of a layer's answers at the ends of tanh or sigmoid
_SURE = 0.95
_SUSPECTS = 0.05  # of the training images contradicted with certainty


def newest_network(run: Path, config: Config, classes: tuple[str, ...]) -> Network | None:
    """The network as the last checkpoint has it, else the best weights, else None."""
    for path in reversed(checkpoints(run / "checkpoints")):
        try:
            with safe_open(path, framework="pt") as file:
                names = [name for name in file.keys() if name.startswith("model.")]  # noqa: SIM118
                tensors = {name.removeprefix("model."): file.get_tensor(name) for name in names}
        except (SafetensorError, OSError):
            continue
        model = build_network(resolve(config.model), len(classes), seed=None)
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise UserError(
                f"{path} is not of the network in {run / 'config.json'}; restore that file"
            ) from error
        model.classes = classes
        return model.eval()
    return load(run) if are_whole(run / "weights.safetensors") else None


def some_images(images: ImageSet, side: int, count: int = _LOOKED_AT) -> tuple[Tensor, list[int]]:
    """Centre crops of some images, spread evenly, (n, 3, side, side), and their indices."""
    chosen = np.unique(
        np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)
    ).tolist()
    view = center_view(images.store.size, side)[0]
    return images.store.cut(chosen, [view] * len(chosen), side), chosen


@torch.no_grad()
def initial_signal(config: Config, classes: int, images: ImageSet, mean: Tensor) -> float:
    """How much of the untrained network's answer depends on the image (`vitals.signal`).

    The initial weights are a pure function of the run's seed, so that they are made again.
    """
    model = build_network(resolve(config.model), classes, seed=config.train.seed)
    model.mean.copy_(mean)
    pixels, _ = some_images(images, model.variant.image_size, 64)
    return signal(quiet_activations(model.eval(), pixels.float()))


@torch.no_grad()
def judge_network(
    model: Network, images: ImageSet, own_mean: bool = True, learned: bool = False
) -> list[Finding]:
    """What is wrong with a network in the light of its training images.

    Args:
        model: as newest_network gives it.
        images: of the training split.
        own_mean: whether the network should subtract the mean of these images (a fine-tuned one
            keeps that of the images it first saw).
        learned: whether it has, so that what has died is not all of it.
    """
    pixels, _ = some_images(images, model.variant.image_size)
    findings = _mean(model, pixels) if own_mean else []
    judge = _dead if model.variant.activation == "relu" else _saturated
    return [*findings, *judge(model, pixels, learned)]


def _rectified(model: Network, pixels: Tensor) -> Iterator[dict[str, Tensor]]:
    """What the layers' activation functions put out, block by block: all stages take 7 MB each."""
    for block in torch.split(pixels, _AT_ONCE):
        stages = quiet_activations(model, block.float())
        yield {name: output for name, output in stages.items() if name.startswith("relu")}


def _mean(model: Network, pixels: Tensor) -> list[Finding]:
    of_images = pixels.float().mean((2, 3))  # (n, 3)
    seen = of_images.mean(0)
    error = of_images.std(0) / len(of_images) ** 0.5
    subtracted = model.mean.mean((1, 2))
    off = (subtracted - seen).abs()
    if bool((off <= torch.clamp(_STANDARD_ERRORS * error, min=_MEAN_TOLERANCE)).all()):
        return []
    words = [
        ", ".join(f"{value:.0f}" for value in colour.tolist()) for colour in (subtracted, seen)
    ]
    return [
        Finding(
            "wrong-mean",
            "error",
            f"the network subtracts a mean of {words[0]} (red, green, blue), its training images "
            f"have {words[1]}",
            "train anew on these images, or give the data that the mean was computed from",
        )
    ]


def _dead(model: Network, pixels: Tensor, learned: bool) -> list[Finding]:
    """Units that are silent in every block."""
    silent: dict[str, Tensor] = {}
    for stages in _rectified(model, pixels):
        for name, here in silent_channels(stages).items():
            silent[name] = here & silent.get(name, here)
    shares = {name: float(units.float().mean()) for name, units in silent.items()}
    worst = max(shares, key=lambda name: shares[name])
    if shares[worst] <= DEAD:
        return []
    return [dead_relus(worst, shares[worst], severity="warning" if learned else "error")]


def _saturated(model: Network, pixels: Tensor, learned: bool) -> list[Finding]:
    """Answers at the ends of tanh or sigmoid, of all blocks together."""
    kind = model.variant.activation
    at_end: dict[str, float] = {}
    for stages in _rectified(model, pixels):
        for name, output in stages.items():
            values = output.float()
            ends = values.abs() > 0.98 if kind == "tanh" else (values < 0.01) | (values > 0.99)
            share = float(ends.float().mean()) * len(output) / len(pixels)
            at_end[name] = at_end.get(name, 0.0) + share
    worst = max(at_end, key=lambda name: at_end[name])
    if at_end[worst] < _SATURATED:
        return []
    return [
        Finding(
            "saturation",
            "warning" if learned else "error",
            f"{at_end[worst]:.0%} of the answers of {worst} are at the ends of {kind}, where no "
            "gradient passes",
            "lower model.initial_scale or --lr, or use model.activation=relu",
        )
    ]


@torch.no_grad()
def label_suspects(
    model: Network, images: ImageSet, count: int = 1000
) -> tuple[list[dict[str, Any]], float]:
    """Training images that the network contradicts with certainty, and their share.

    Returns:
        The surest ten as {"key", "label", "predicted", "probability"}, and the share of all that
        were looked at.
    """
    pixels, chosen = some_images(images, model.variant.image_size, count)
    rows = [model(pixels[i : i + 64].float()).softmax(1) for i in range(0, len(pixels), 64)]
    probabilities = torch.cat(rows).numpy()
    labels: npt.NDArray[np.int64] = images.labels[chosen]
    predicted, sureness = probabilities.argmax(1), probabilities.max(1)
    suspects = np.flatnonzero((predicted != labels) & (sureness > _SURE))
    surest = suspects[np.argsort(-sureness[suspects], kind="stable")][:10]
    listed = [
        {
            "key": images.keys[chosen[i]],
            "label": model.classes[labels[i]],
            "predicted": model.classes[predicted[i]],
            "probability": float(sureness[i]),
        }
        for i in surest
    ]
    return listed, len(suspects) / max(1, len(chosen))


def judge_suspects(suspects: list[dict[str, Any]], share: float) -> list[Finding]:
    """Whether so many contradictions point at the labels."""
    if share < _SUSPECTS:
        return []
    first = suspects[0]
    return [
        Finding(
            "label-noise",
            "warning",
            f"the network is sure of another class for {share:.0%} of its own training images, "
            f"first {first['key']}: {first['label']!r}, it says {first['predicted']!r}",
            "look at the listed images; correct their labels or remove them",
        )
    ]
