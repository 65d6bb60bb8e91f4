"""Layer-wise adaptive rates against a recursion in NumPy, and steps made of several passes."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from alexnet.config import AugmentConfig, ModelConfig, OptimizerConfig
from alexnet.data.augment import IMAGENET_COMPONENTS
from alexnet.data.batches import NO_IMAGE, Batch, TrainingFeed, training_batches
from alexnet.data.pixels import images_in_memory
from alexnet.defaults import DataFacts
from alexnet.model.changes import resolve
from alexnet.model.network import AlexNet
from alexnet.recipes import RECIPES
from alexnet.rows import read_rows
from alexnet.training.optimizer import build_optimizer, set_rates
from alexnet.training.schedule import Rates
from runs import TINY, final_state, finish

Floats = npt.NDArray[np.float64]
RATES = [1.0, 4.0, 10.0, 9.0, 2.0]


def network() -> AlexNet:
    model = AlexNet(resolve(ModelConfig(width=1 / 48, image_size=64)), num_classes=7, seed=3)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def gradients(model: AlexNet, step: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return {
        name: torch.empty_like(p).copy_(torch.randn(p.shape, generator=generator))
        for name, p in model.named_parameters()
    }


def lars(w: Floats, grads: list[Floats], decay: float, rule: str) -> Floats:
    """intel/caffe's local_lr_auto, and NVIDIA/caffe's clip, written as their solvers are."""
    v = np.zeros_like(w)
    for g, lr in zip(grads, RATES, strict=True):
        w_norm, g_norm = np.sqrt((w**2).sum()), np.sqrt((g**2).sum())
        rate = 1.0 if rule == "scale" else lr
        if w_norm > 0 and g_norm > 0:
            rate = (
                0.001 * w_norm / (g_norm + decay * w_norm)
                if rule == "scale"
                else min(lr, (1 - 0.9) * 0.001 * w_norm / g_norm)
            )
        local = lr * rate if rule == "scale" else rate
        v = 0.9 * v + local * (g + decay * w)
        w = w - v
    return w


@pytest.mark.parametrize("rule", ["scale", "clip"])
def test_is_the_formula_of_the_records(rule: str) -> None:
    model = network()
    start = {name: p.detach().double().numpy().copy() for name, p in model.named_parameters()}
    optimizer = build_optimizer(
        model,
        OptimizerConfig(kind="lars", lars_rule=rule, weight_decay=0.05),  # type: ignore[arg-type]
    )
    grads = [gradients(model, step) for step in range(len(RATES))]
    for rate, gradient in zip(RATES, grads, strict=True):
        set_rates(optimizer, Rates(rate, rate, {}))
        for name, parameter in model.named_parameters():
            parameter.grad = gradient[name].clone()
        optimizer.step()
    for name, parameter in model.named_parameters():
        decay = 0.0 if name.endswith("bias") else 0.05
        expected = lars(start[name], [g[name].double().numpy() for g in grads], decay, rule)
        np.testing.assert_allclose(
            parameter.detach().numpy(), expected, rtol=2e-5, atol=1e-6, err_msg=name
        )


def test_a_frozen_layer_stays() -> None:
    model = network()
    before = model.conv1.weight.detach().clone()
    optimizer = build_optimizer(model, OptimizerConfig(kind="lars"))
    set_rates(optimizer, Rates(1.0, 1.0, {"conv1": 0.0}))
    for name, gradient in gradients(model, 0).items():
        model.get_parameter(name).grad = gradient
    optimizer.step()
    assert torch.equal(model.conv1.weight, before)


def feed(**options: int) -> TrainingFeed:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 40, 40, 3), dtype=np.uint8)
    images = images_in_memory(pixels, np.arange(37, dtype=np.int64), [str(i) for i in range(37)])
    return TrainingFeed(images, IMAGENET_COMPONENTS, AugmentConfig(), 32, 16, seed=5, **options)


def counted(batches: list[Batch]) -> dict[int, tuple[Tensor, Tensor]]:
    """By position in the step: the image with its label, of all that count."""
    found = {}
    for batch in batches:
        for row, position in enumerate(batch.positions):
            if batch.labels[row] != NO_IMAGE:
                assert position not in found
                found[int(position)] = (batch.images[row], batch.labels[row])
    return found


@pytest.mark.parametrize(("micro", "slices"), [(4, 1), (3, 2), (1, 3), (16, 4), (5, 5)])
def test_slices_and_passes_are_the_whole_batch(micro: int, slices: int) -> None:
    whole = list(training_batches(feed(), 0, 3, 1))
    shares = [
        list(
            training_batches(
                feed(micro_batch_size=micro, slice_index=index, slice_count=slices), 0, 3, 2
            )
        )
        for index in range(slices)
    ]
    assert len({len(share) for share in shares}) == 1  # all make equally many passes
    for step, expected in enumerate(whole):
        own = [batch for share in shares for batch in split_steps(share)[step]]
        assert {len(batch.labels) for batch in own} == {len(own[0].labels)}
        assert len(own[0].labels) <= micro
        assert all(batch.total == len(expected.labels) for batch in own)
        found = counted(own)
        assert sorted(found) == list(range(len(expected.labels)))
        for position, (image, label) in found.items():
            assert torch.equal(image, expected.images[position])
            assert label == expected.labels[position]


def split_steps(batches: list[Batch]) -> list[list[Batch]]:
    steps: list[list[Batch]] = [[]]
    for batch in batches:
        steps[-1].append(batch)
        if batch.ends_step:
            steps.append([])
    return steps[:-1]


def test_several_passes_make_the_same_run(image_folder: Path, tmp_path: Path) -> None:
    short = (*TINY, "--epochs", "2", "--batch-size", "16", "--precision", "fp32")
    assert finish("train", image_folder, "--out", tmp_path / "a", *short) == 0
    passes = ("--set", "train.micro_batch_size=3")
    assert finish("train", image_folder, "--out", tmp_path / "b", *short, *passes) == 0
    rows = [read_rows(tmp_path / name / "metrics.jsonl") for name in "ab"]
    assert [r["loss"] for r in rows[0]] == pytest.approx([r["loss"] for r in rows[1]], rel=1e-4)
    weights = [final_state(tmp_path / name)[0]["model.fc6.weight"] for name in "ab"]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "batch_size", "lr", "steps"),
    [
        ("batch-8k", 8192, 10.0, 15_700),
        ("batch-16k", 16_384, 16.0, 7_900),
        ("batch-32k", 32_768, 32.0, 4_000),
    ],
)
def test_recipes_follow_the_published_files(
    name: str, batch_size: int, lr: float, steps: int
) -> None:
    config = RECIPES[name](DataFacts(1_281_167, 1000, mirror=True))
    assert (config.train.batch_size, config.optimizer.lr) == (batch_size, lr)
    assert config.optimizer.kind == "lars"
    assert (config.schedule.kind, config.schedule.power) == ("polynomial", 2.0)
    made = config.train.epochs * -(-1_281_167 // batch_size)
    assert made == pytest.approx(steps, rel=0.02)
