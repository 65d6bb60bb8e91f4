"""The loop against section 5 written out: what a few steps do to the weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from alexnet import AlexNet
from alexnet.config import AugmentConfig, Config, OptimizerConfig, TrainConfig
from alexnet.data.augment import IMAGENET_COMPONENTS
from alexnet.data.batches import TrainingFeed
from alexnet.data.pixels import images_in_memory
from alexnet.draws import permutation
from alexnet.errors import CannotLearnError
from alexnet.evaluation.evaluate import Evaluation
from alexnet.model.changes import resized
from alexnet.model.variants import VARIANTS
from alexnet.parallel.layouts import place
from alexnet.parallel.world import World
from alexnet.rows import RowLog, read_rows
from alexnet.training.loop import State, Surroundings, train_loop
from alexnet.training.optimizer import build_optimizer
from alexnet.training.signals import StopRequest

IMAGES, BATCH, EPOCHS, SEED, LR = 7, 4, 2, 3, 0.002
PIXELS = np.random.default_rng(0).integers(0, 256, (IMAGES, 64, 64, 3), dtype=np.uint8)
LABELS = np.arange(IMAGES) % 5


def new_network() -> AlexNet:
    """Without dropout, or the masks would have to be written out, too."""
    variant = replace(resized(VARIANTS["paper"], 1 / 32, 64), dropout=0.0)
    return AlexNet(variant, 5, seed=1)


def written_out(model: AlexNet) -> list[float]:
    """v <- 0.9 v - 0.0005 e w - e <dL/dw>, w <- w + v; the loss of each step."""
    losses = []
    velocity = {name: torch.zeros_like(w) for name, w in model.named_parameters()}
    for epoch in range(EPOCHS):
        order = permutation(SEED, epoch, IMAGES)
        for start in range(0, IMAGES, BATCH):
            chosen = order[start : start + BATCH]
            images = torch.from_numpy(PIXELS[chosen]).permute(0, 3, 1, 2).float()
            each = [
                -logits.log_softmax(0)[label]
                for logits, label in zip(model(images), LABELS[chosen], strict=True)
            ]
            loss = sum(each, torch.zeros(())) / len(chosen)  # the average over the batch
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for (name, w), gradient in zip(model.named_parameters(), gradients, strict=True):
                    decay = 0.0 if name.endswith("bias") else 0.0005
                    velocity[name] = 0.9 * velocity[name] - decay * LR * w - LR * gradient
                    w += velocity[name]
            losses.append(loss.item())
    return losses


def surroundings(
    folder: Path,
    micro_batch_size: int | None = None,
    alarm: bool = False,
    answer: float = 1 / 5,
) -> Surroundings:
    """What the loop works with; every evaluation finds this answer for each class."""
    images = images_in_memory(PIXELS, LABELS, [""] * IMAGES)
    answers = np.full((IMAGES, 5), answer, np.float32)
    measured = Evaluation(answers, images.labels, images.keys, "abcde", 1)
    augment = AugmentConfig(crop="center", mirror=False, color="none")
    return Surroundings(
        config=Config(
            train=TrainConfig(epochs=EPOCHS, batch_size=BATCH, log_every_steps=1, alarm=alarm),
            optimizer=OptimizerConfig(lr=LR),
        ),
        world=World(0, 1, torch.device("cpu"), "fp32"),
        feed=TrainingFeed(images, IMAGENET_COMPONENTS, augment, 64, BATCH, SEED, micro_batch_size),
        validate=lambda: measured,
        keep_best=lambda: None,
        checkpoint_folder=folder / "checkpoints",
        metrics=RowLog(folder / "metrics.jsonl"),
        stop=StopRequest(),
    )


def looped(model: AlexNet, around: Surroundings) -> None:
    """The same by the loop, whose last batch of an epoch is one image short."""
    network = place(model, "one", around.world)
    optimizer = build_optimizer(network.parts, around.config.optimizer)
    train_loop(State(network, optimizer, torch.zeros(4, dtype=torch.float64)), around)


def moved(model: AlexNet) -> dict[str, Tensor]:
    """How far each parameter has come; the weights themselves hardly change in a few steps."""
    before = dict(new_network().named_parameters())
    return {name: w.detach() - before[name].detach() for name, w in model.named_parameters()}


@pytest.mark.parametrize("micro_batch_size", [None, 3, 1])
def test_steps_are_those_of_section_5(tmp_path: Path, micro_batch_size: int | None) -> None:
    """Short last batches weigh as much as whole ones, however many passes a step takes."""
    expected, found = new_network(), new_network()
    losses = written_out(expected)
    looped(found, surroundings(tmp_path, micro_batch_size))
    rows = read_rows(tmp_path / "metrics.jsonl")
    logged = [row["loss"] for row in rows if row["split"] == "train"]
    assert logged == pytest.approx(losses, rel=1e-5)
    came = moved(found)
    for name, way in moved(expected).items():
        torch.testing.assert_close(came[name], way, rtol=0.0, atol=1e-3 * way.abs().max().item())


def test_an_evaluation_whose_loss_is_no_number_stops_the_run(tmp_path: Path) -> None:
    """What the last steps before it did shows in no training loss."""
    kept: list[None] = []
    around = replace(
        surroundings(tmp_path, alarm=True, answer=np.nan), keep_best=lambda: kept.append(None)
    )
    with pytest.raises(CannotLearnError, match=r"stopped at step 2: .* try --lr 0.0002"):
        looped(new_network(), around)
    assert not kept
