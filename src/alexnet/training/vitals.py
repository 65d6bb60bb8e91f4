"""What tells a healthy training from a sick one, measured where the loop reads the device anyway.

Every measure is a number without a unit, so that one threshold serves every network and data set.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.model.build import Network

LOOKED_AT = 64  # images of a batch that stand for all of them, where every stage of them is kept
_ROWS = 16  # of each weight matrix that stand for all of them


@torch.no_grad()
def update_ratios(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The last update's size relative to the weights', layer by layer; frozen ones are left out.

    Both as root mean squares over a sample of the layer's rows, of those that this process holds.
    """
    updates: dict[str, float] = defaultdict(float)  # sums of squares: a layer may lie in parts
    weights: dict[str, float] = defaultdict(float)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            if group.get("is_bias") or not state or group["lr"] == 0.0:
                continue
            every = max(1, len(parameter) // _ROWS)
            update = group["lr"] * _direction(state, every, group.get("betas", (0.9, 0.999)))
            updates[group["layer"]] += float(update.norm()) ** 2
            weights[group["layer"]] += float(parameter.detach()[::every].norm()) ** 2
    return {layer: math.sqrt(updates[layer] / max(weights[layer], 1e-40)) for layer in updates}


@torch.no_grad()
def weight_sizes(model: Network) -> dict[str, float]:
    """Root mean square of every layer's weights, without its biases."""
    return {
        name: _size(model.get_submodule(name).get_parameter("weight"))
        for name in model.variant.weight_layers
    }


@torch.no_grad()
def output_sizes(stages: dict[str, Tensor], layers: Iterable[str]) -> dict[str, float]:
    """Root mean square of what layers with weights put out, before their ReLU.

    Args:
        stages: `AlexNet.activations` of some images, without dropout.
        layers: names of the layers with weights.
    """
    return {name: _size(stages[name]) for name in layers}


def _size(values: Tensor) -> float:
    """Root mean square."""
    return float(torch.linalg.vector_norm(values, dtype=torch.float32)) / math.sqrt(values.numel())


def _direction(state: dict[str, Tensor], every: int, betas: tuple[float, float]) -> Tensor:
    """What an optimiser multiplies by its rate, for every so many rows."""
    if "momentum_buffer" in state:
        direction = state["momentum_buffer"][::every]
    else:  # AdamW, with moments corrected for their beginning
        step = float(state["step"])
        mean = state["exp_avg"][::every] / (1.0 - betas[0] ** step)
        square = state["exp_avg_sq"][::every] / (1.0 - betas[1] ** step)
        direction = mean / (square.sqrt() + 1e-8)
    return direction


@torch.no_grad()
def signal(stages: dict[str, Tensor]) -> float:
    """How much of the logits depends on the image: deviation over images, over their rms.

    Args:
        stages: `AlexNet.activations` of some images, without dropout.
    """
    logits = stages[next(reversed(stages))].float()
    if len(logits) < 2:
        return 1.0
    return _size(logits.std(0)) / max(_size(logits), 1e-20)


@torch.no_grad()
def silent_channels(stages: dict[str, Tensor]) -> dict[str, Tensor]:
    """For each layer of ReLUs, (channels,) whether a kernel or neuron answers zero to every image.

    Args:
        stages: `AlexNet.activations` of some images, without dropout.
    """
    return {
        name: output.transpose(0, 1).flatten(1).amax(1) <= 0.0
        for name, output in stages.items()
        if name.startswith("relu")
    }


def dead_channels(stages: dict[str, Tensor]) -> dict[str, float]:
    """The share of such channels in each layer of ReLUs."""
    return {name: float(silent.float().mean()) for name, silent in silent_channels(stages).items()}


@torch.no_grad()
def quiet_activations(model: Network, images: Tensor) -> dict[str, Tensor]:
    """`AlexNet.activations` without dropout, whatever mode the model is in."""
    was_training = model.training
    model.eval()
    stages = model.activations(images)
    model.train(was_training)
    return stages


def mixing(labels: Sequence[int] | npt.NDArray[np.int64], shares: npt.NDArray[np.float64]) -> float:
    """Different classes in a batch, relative to those expected of a random one; about 1.

    Args:
        labels: (n,) of the batch.
        shares: (C,) of the classes among the training images.
    """
    expected = float((1.0 - (1.0 - shares) ** len(labels)).sum())
    return len(np.unique(np.asarray(labels))) / max(expected, 1e-20)
