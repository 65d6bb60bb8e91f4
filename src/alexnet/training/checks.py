"""What is wrong with a run, judged from its metrics alone: pure functions of rows and facts.

The doctor asks them about a run that has ended, the watch about one that goes on. They are silent
where the evidence allows a healthy explanation; what decides is written beside each threshold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet.config import ModelConfig
from alexnet.evaluation.metrics import wilson_interval
from alexnet.findings import Finding

Rows = Sequence[dict[str, Any]]

# Update over weights (vitals.update_ratios), median of the layers, where it is largest: healthy
# runs have 1e-3 to 4e-3, a tenth and ten times of which may still be right.
_FORGETS_ITSELF = 0.02
_STANDS_STILL = 3e-4
# Spread over rms of the logits before anything is learned: the paper's net on photographs 0.11,
# the slowest that still trains 0.01, N(0, 0.01) weights on unit-variance inputs 0.0002.
_DROWNED = 2e-3
DEAD = 0.9  # of a layer's kernels or neurons; sparse but healthy layers stay below 0.6
_MIXED = 0.5  # of the classes expected in a random batch; sorted files give 1 / classes
_DOMINATES = 0.9  # of all training images in one class
_TOO_SOON = 20  # steps; before them nobody has learned, and symptoms have no cause yet
_LEFT_CHANCE = 0.95  # of the loss of guessing: below it something is learned
_MEMORISED = 0.6  # of the loss of guessing, where a healthy validation error is far from chance
_CLOSE = 0.9  # of the error of guessing
_GAP = 0.25  # between validation and training error, with a validation loss that rises again
_RISEN = 1.25
_WAITS = 0.4  # of the time for data


@dataclass(frozen=True)
class Facts:
    """What a run is, for its judges."""

    lr: float
    shares: npt.NDArray[np.float64]  # (C,) of the classes among the training images
    validation_images: int
    warmup_epochs: float = 0.0
    validation_shares: npt.NDArray[np.float64] | None = None  # (C,); None: as in training
    model: ModelConfig = field(default_factory=ModelConfig)

    @property
    def chance_loss(self) -> float:
        """The loss of answering the class frequencies whatever the image: their entropy."""
        return entropy(self.shares)

    @property
    def blind_error(self) -> float:
        """The validation error of always answering the commonest class of the training images."""
        seen = self.shares if self.validation_shares is None else self.validation_shares
        return 1.0 - float(seen[self.shares.argmax()])


def shares(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float64]:
    """(C,) share of each class among (N,) labels."""
    counts: npt.NDArray[np.float64] = np.bincount(labels, minlength=classes) / max(1, len(labels))
    return counts


def entropy(shares: npt.NDArray[np.float64]) -> float:
    """Of (C,) shares: the loss of answering them whatever the image; ln(C) where they are even."""
    seen = shares[shares > 0]
    return float(-(seen * np.log(seen)).sum())


def check_run(rows: Rows, facts: Facts, ended: bool = False) -> list[Finding]:
    """Everything that the metrics of a run say is wrong, the cause that explains most first.

    Args:
        rows: of `metrics.jsonl`, whole or so far.
        facts: of the run.
        ended: whether no more rows will come, so that nothing is gained by waiting.
    """
    train = [row for row in rows if row["split"] == "train"]
    validation = [row for row in rows if row["split"] == "val"]
    if not train:
        return []
    findings = [*_imbalance(facts), *_order(train)]
    if not findings:
        findings += _first_cause(train, validation, facts, ended)
    if not findings:
        findings += [*_overfitting(train, validation), *_dead_weight(train, ended)]
    return [*findings, *_data_bound(train)]


def _imbalance(facts: Facts) -> list[Finding]:
    largest = int(facts.shares.argmax())
    if facts.shares[largest] < _DOMINATES:
        return []
    return [
        Finding(
            "one-class-dominates",
            "error",
            f"{facts.shares[largest]:.0%} of the training images are of one class (number "
            f"{largest}); always answering it is wrong on {facts.blind_error:.1%} only, so the "
            "error says little",
            "collect images of the other classes, or leave most of this class out",
        )
    ]


def _order(train: Rows) -> list[Finding]:
    seen = [row["batch_mixing"] for row in train if row.get("batch_mixing") is not None]
    if len(seen) < 3 or median(seen) >= _MIXED:
        return []
    return [
        Finding(
            "not-shuffled",
            "error",
            f"a training batch holds {median(seen):.0%} of the classes that a random one would: "
            "the images come in the order of their classes",
            "shuffle the training images anew in every epoch",
        )
    ]


def _first_cause(train: Rows, validation: Rows, facts: Facts, ended: bool) -> list[Finding]:
    """Why a run learns nothing; silent for one that learns."""
    if any(row["loss"] is None for row in train):
        step = next(row["step"] for row in train if row["loss"] is None)
        return [_rate_too_high(facts, f"the loss is not a number from step {step} on")]
    if learns(train, facts):
        return _memorises(train, validation, facts)
    ratio = largest_update(train)
    dead = _most_dead(train, ended)
    if train[-1]["step"] < _TOO_SOON:
        return []
    if ratio is not None and ratio > _FORGETS_ITSELF:
        return [
            _rate_too_high(facts, f"an update changes half of the layers by {ratio:.0%} or more")
        ]
    if dead and dead[1] > DEAD:
        return [dead_relus(*dead)]
    signal = _values(train, "signal")[:1]
    if signal and is_drowned(signal[0]):
        return [drowned(signal[0], facts.model)]
    if ratio is not None and ratio < _STANDS_STILL and _settled(train, facts, steps=50):
        return [_rate_too_low(facts, ratio)]
    patient = 100 if ended else 300  # steps
    if _settled(train, facts, patient, epochs=3.0) and _at_chance(validation, facts):
        return [_labels(train, f"the loss stays at {train[-1]['loss']:.3f}, that of guessing")]
    return []


def learns(rows: Rows, facts: Facts) -> bool:
    """Whether the last training losses are below those of guessing."""
    train = [row for row in rows if row["split"] == "train"]
    last = [row["loss"] for row in train[-5:] if row["loss"] is not None]
    return bool(last) and median(last) < _LEFT_CHANCE * facts.chance_loss


def largest_update(train: Rows) -> float | None:
    """The largest update so far relative to the weights, median of the layers."""
    ratios = [[r for r in row.get("update_ratios", {}).values() if r is not None] for row in train]
    return max((median(of_layers) for of_layers in ratios if of_layers), default=None)


def _settled(train: Rows, facts: Facts, steps: int, epochs: float = 0.0) -> bool:
    """Whether the run has gone on for long enough to be judged, warm-up excepted."""
    last = train[-1]
    warmed_up = last["epoch"] >= facts.warmup_epochs or last["step"] >= 4 * steps
    return bool(last["step"] >= steps and last["epoch"] >= epochs and warmed_up)


def _at_chance(validation: Rows, facts: Facts) -> bool:
    """Whether the last validation error is that of knowing nothing of the images.

    It must lie close to it, and not only because there are few images: ten allow nearly any error.
    """
    if not validation:
        return False
    error, blind = validation[-1]["top1_error"], facts.blind_error
    low, high = wilson_interval(error, max(1, facts.validation_images))
    return bool(error >= _CLOSE * blind and low >= blind / 2 and high >= blind)


def _memorises(train: Rows, validation: Rows, facts: Facts) -> list[Finding]:
    """Whether little was known of other images when so much was of the training images."""
    if not _at_chance(validation, facts) or validation[-1]["epoch"] < 3.0:
        return []
    # In an epoch that teaches much, the loss of now says nothing about a validation of before it.
    before = [row for row in train if row["step"] <= validation[-1]["step"]]
    if not before or before[-1]["loss"] >= _MEMORISED * facts.chance_loss:
        return []
    return [
        _labels(
            train,
            f"the training loss falls to {before[-1]['loss']:.3f} while the validation error stays "
            f"at {validation[-1]['top1_error']:.1%}, that of guessing",
        )
    ]


def _overfitting(train: Rows, validation: Rows) -> list[Finding]:
    validation = [row for row in validation if row["loss"] is not None]
    losses = [row["loss"] for row in validation]
    if len(losses) < 5 or losses[-1] < _RISEN * min(losses):
        return []
    gap = validation[-1]["top1_error"] - median(row["top1_error"] for row in train[-5:])
    if gap < _GAP:
        return []
    best = validation[losses.index(min(losses))]["epoch"]
    best_error = min(row["top1_error"] for row in validation)
    # With few images the answers go on improving long after their probabilities are too sure.
    shorter = all(row["top1_error"] > best_error for row in validation if row["epoch"] > best)
    return [
        Finding(
            "over-fitting",
            "warning",
            f"the validation error is {gap:.0%} above the training error, and the validation loss "
            f"has risen from {min(losses):.2f} (epoch {best:.0f}) to {losses[-1]:.2f}",
            "more images help most; then --init a trained run, augment.crop=random and "
            "augment.mirror=true where they are off, or more optimizer.weight_decay"
            + (f", or --epochs {max(1, round(best))}" if shorter else ""),
        )
    ]


def _dead_weight(train: Rows, ended: bool) -> list[Finding]:
    dead = _most_dead(train, ended)
    if train[-1]["step"] < _TOO_SOON or not dead or dead[1] <= DEAD:
        return []
    return [dead_relus(*dead, severity="warning")]


def bottleneck(train: Rows) -> str | None:
    """What a run waits for, "data-bound" or "compute-bound"; None while it is too soon to say."""
    waits = _values(train, "data_wait_fraction")
    if not waits or _seconds(train) < 30.0:
        return None
    return "data-bound" if waits[-1] >= _WAITS else "compute-bound"


def _data_bound(train: Rows) -> list[Finding]:
    if bottleneck(train) != "data-bound":
        return []
    waits = _values(train, "data_wait_fraction")
    return [
        Finding(
            "data-bound",
            "note",
            f"{waits[-1]:.0%} of the training time goes by waiting for images",
            "raise data.workers, or decode once: alexnet prepare DATA OUT",
        )
    ]


def _seconds(train: Rows) -> float:
    """How long the run has trained; 0 where its rows do not say."""
    last = train[-1]
    return float((last.get("images") or 0) / (last.get("images_per_second") or math.inf))


def dead_units(train: Rows) -> dict[str, float]:
    """The share of dead units in each layer of ReLUs when they were last counted."""
    counted = _values(train, "dead_units")
    return dict(counted[-1]) if counted else {}


def _most_dead(train: Rows, ended: bool) -> tuple[str, float] | None:
    """The layer with the largest share of dead units in both of the last two counts.

    One count says little of a run that goes on: of early ones whole layers have come back.
    """
    counts = _values(train, "dead_units")[-2:]
    if len(counts) < 2 and not ended:
        return None
    lasting = {layer: min(count.get(layer, 0.0) for count in counts) for layer in dead_units(train)}
    return max(lasting.items(), key=lambda entry: entry[1], default=None)


def _values(train: Rows, key: str) -> list[Any]:
    return [row[key] for row in train if row.get(key) is not None]


def _rate_too_high(facts: Facts, seen: str) -> Finding:
    return Finding(
        "rate-too-high",
        "error",
        f"{seen}: the learning rate {facts.lr:g} is too high for this network and data",
        f"try --lr {facts.lr / 10:g}, or let alexnet tune DATA --range find it",
    )


def _rate_too_low(facts: Facts, ratio: float) -> Finding:
    return Finding(
        "rate-too-low",
        "error",
        f"no update changes half of the layers by more than {ratio:.0e} of their size, and the "
        f"loss stays at that of guessing: the learning rate {facts.lr:g} is too low",
        f"try --lr {facts.lr * 10:g}, or let alexnet tune DATA --range find it",
    )


def is_drowned(signal: float) -> bool:
    """Whether so little of the answer depends on the image that training hardly begins."""
    return signal < _DROWNED


def drowned(signal: float, model: ModelConfig) -> Finding:
    """The finding for a signal that drowns in a network; it advises nothing that is so already."""
    small, larger = "inputs of this size", "a larger model.initial_scale"
    if model.activation in ("tanh", "sigmoid"):  # paper on photographs: 0.002 of tanh, 0.14 of relu
        small, mend = model.activation, f"use model.activation=relu or {larger}"
    elif model.variant == "paper":
        mend = f"give images with their full range 0 to 255, or use {larger}"
    else:
        mend = (
            "give images with their full range 0 to 255, and use --variant paper (0.03 in conv3-5) "
            f"or {larger}"
        )
    return Finding(
        "drowned-signal",
        "error",
        f"before training, only {signal:.1e} of the network's answer depends on the image: the "
        f"initial weights are too small for {small}, and the biases drown the rest",
        mend,
    )


def dead_relus(layer: str, share: float, severity: Any = "error") -> Finding:
    """The finding for a layer of units that have died."""
    return Finding(
        "dead-relus",
        severity,
        f"{share:.0%} of the units of {layer} answer zero to every image, and no gradient passes "
        "them",
        "start anew with the initial biases of the variant, or a lower --lr with a warm-up "
        "(schedule.warmup_epochs)",
    )


def _labels(train: Rows, seen: str) -> Finding:
    measured = {"update_ratios": "updates", "dead_units": "units", "batch_mixing": "order"}
    healthy = [word for key, word in measured.items() if _values(train, key)]
    although = f", although {' and '.join(healthy)} are healthy" if healthy else ""
    return Finding(
        "labels-do-not-fit",
        "error",
        f"{seen}{although}: the labels do not belong to the images, or the validation images are "
        "of something else",
        "look at some images of each class; compare the list of labels with the files",
    )
