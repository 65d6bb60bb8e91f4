"""Runs that visibly cannot learn are stopped early, with the likely cause and the mend.

Section 5's remark on biases ("this initialisation accelerates the early stages of learning by
providing the ReLUs with positive inputs") is the cure for one of the causes. Three signs are read
where the loop reads its metrics anyway: a loss that is not finite, a network whose answer no longer
depends on the image, and a loss that stays at that of guessing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.errors import CannotLearnError
from alexnet.findings import Finding
from alexnet.model.build import Network
from alexnet.training.checks import entropy
from alexnet.training.vitals import LOOKED_AT, quiet_activations

# A loss this close to that of guessing, or above it, says that nothing is known of the images.
_GUESSING = 0.98
# Spread of the logits over images, relative to nothing: below it all images get one answer.
# A healthy network starts at 0.005 or more even in the variant `paper-literal`.
_CONSTANT_ANSWER = 1e-4
_ENOUGH_IMAGES = 8  # for units to differ between; the last batch of an epoch may be short
_DEAD = 0.95  # of a layer's units the same for every image: nothing passes it any more
_STEPS_BEFORE_CONSTANT_COUNTS = 20
# How long a loss may stay at ln(classes), where not even their frequencies are known: the slowest
# healthy published run left it after about 200,000 images of ImageNet; a small set is given 300
# steps and two epochs.
_PATIENCE_STEPS = 300
_PATIENCE_EPOCHS = 2.0
_PATIENCE_IMAGES = 500_000


@dataclass(frozen=True)
class Sign:
    """What the loop knows when it logs."""

    step: int
    epochs: float  # done, with fraction
    images: int  # seen
    loss: float  # mean since the last log
    spread: float  # of the logits over the images of the last batch
    lr: float  # the one the run began with
    warming_up: bool
    rows: int  # of every process's last pass, of which some may be no images


class Alarm:
    """Watches one run.

    Args:
        shares: (C,) of the classes among the training images.
        left_chance: whether the loss was below ln(C) before, in a run that goes on.

    Attributes:
        left_chance: the same, now.
    """

    def __init__(self, shares: npt.NDArray[np.float64], left_chance: bool = False) -> None:
        self._chance = math.log(len(shares))
        self._frequencies = entropy(shares)  # less, where classes are uneven
        self.left_chance = left_chance

    def check(
        self,
        sign: Sign,
        whole: Callable[[], Network],
        images: Tensor,
        known: Finding | None = None,
    ) -> None:
        """Stop the run if it cannot learn.

        Args:
            sign: the same on every process.
            whole: gives the network; asked for only where the loss raises suspicion.
            images: of this process in the last batch.
            known: what the watch found to be wrong; then that is the cause that is named.

        Raises:
            CannotLearnError: it cannot; one line with cause and mend.
        """
        check_finite(sign.loss, sign.step, sign.lr)
        self.left_chance |= sign.loss < _GUESSING * self._chance
        if sign.loss < _GUESSING * self._frequencies:
            return
        if sign.step >= _STEPS_BEFORE_CONSTANT_COUNTS and sign.rows >= _ENOUGH_IMAGES:
            model = whole()  # by all processes, also one that has too few images to look at
            # Measured without dropout, whose noise would pass for an answer.
            shares = unchanging_units(model, images) if len(images) >= _ENOUGH_IMAGES else {}
            dead = [
                f"{share:.0%} of the units of {layer} are dead (the same for every image)"
                for layer, share in shares.items()
                if share > _DEAD
            ]
            if dead or sign.spread < _CONSTANT_ANSWER:
                raise _named(sign, known) or self._collapsed(sign, *dead[:1])
        if sign.warming_up:
            return
        waited = (
            sign.step >= _PATIENCE_STEPS and sign.epochs >= _PATIENCE_EPOCHS
        ) or sign.images >= _PATIENCE_IMAGES
        if waited and not self.left_chance:
            raise _named(sign, known) or CannotLearnError(
                f"training stopped at step {sign.step}: the loss {sign.loss:.3f} has not left "
                f"ln({round(math.exp(self._chance))}) = {self._chance:.3f}, the loss of guessing",
                f"the learning rate {sign.lr:g} is likely too low, try --lr {sign.lr * 10:g}, or "
                "the labels do not belong to the images (a new run with --set train.alarm=false "
                "is not stopped)",
            )

    def _collapsed(
        self, sign: Sign, cause: str = "its answer is the same for every image"
    ) -> CannotLearnError:
        return CannotLearnError(
            f"training stopped at step {sign.step}: the network has collapsed to guessing, loss "
            f"{sign.loss:.3f} where the classes' frequencies alone give {self._frequencies:.3f}, "
            f"and {cause}",
            f"the learning rate {sign.lr:g} is too high for this data, try --lr {sign.lr / 10:g}",
        )


def check_finite(loss: float, step: int, lr: float) -> None:
    """Stop a run whose loss, of training or of an evaluation, is no number.

    Raises:
        CannotLearnError: it is none; one line with cause and mend.
    """
    if not math.isfinite(loss):
        raise CannotLearnError(
            f"training stopped at step {step}: the loss is not a number any more",
            f"the learning rate {lr:g} is too high for this data, try --lr {lr / 10:g}",
        )


def _named(sign: Sign, known: Finding | None) -> CannotLearnError | None:
    """The complaint for a cause that is known."""
    if known is None:
        return None
    return CannotLearnError(f"training stopped at step {sign.step}: {known.cause}", known.mend)


def spread(logits: Tensor) -> Tensor:
    """Standard deviation of the logits over the images of a batch, mean over classes; a scalar."""
    if len(logits) < 2:  # one image says nothing about spread
        return torch.ones((), device=logits.device)
    return logits.detach().float().std(0).mean()


@torch.no_grad()
def unchanging_units(model: Network, images: Tensor) -> dict[str, float]:
    """For each layer of ReLUs, the share of units that are the same for 64 images at most.

    Other activations saturate, and come back: a network of sigmoids has no dead units.
    """
    if model.variant.activation != "relu":
        return {}
    return {
        name: float((output.flatten(1).float().std(0) < 1e-6).float().mean())
        for name, output in quiet_activations(model, images[:LOOKED_AT]).items()
        if name.startswith("relu")
    }
