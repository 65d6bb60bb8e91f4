"""The 2012 rule on the 2012 network learns: the cheapest proof that nothing is wired backwards."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import backward

from alexnet.config import ModelConfig, OptimizerConfig
from alexnet.data.digits import open_digits
from alexnet.data.images import load_square
from alexnet.draws import permutation, sample_keys
from alexnet.model.network import AlexNet
from alexnet.model.variants import WEIGHT_LAYERS, Variant, resolve
from alexnet.training.optimizer import build_optimizer, set_rates
from alexnet.training.schedule import Rates

IMAGES, BATCH, STEPS, RATE = 256, 32, 150, 0.005


def narrow(name: str) -> Variant:
    """An eighth of the width, small images, and initial weights that pass on as much signal.

    The scale of a sum of n weighted inputs grows with the root of n: 0.01 is made for the full
    width and size, where fc6 has 9216 inputs.
    """
    full, variant = (
        resolve(ModelConfig(name)),
        resolve(ModelConfig(name, width=1 / 8, image_size=64)),
    )
    assert full.weight_std is not None
    wide, few = (
        [model.get_parameter(f"{layer}.weight")[0].numel() for layer in WEIGHT_LAYERS]
        for model in (AlexNet(v, 10, seed=None) for v in (full, variant))
    )
    scales = zip(full.weight_std, wide, few, strict=True)
    return replace(variant, weight_std=tuple(s * (n / m) ** 0.5 for s, n, m in scales))


@pytest.mark.parametrize("name", ["paper", "original"])
def test_learns_256_digits_by_heart(name: str) -> None:
    """Momentum 0.9, decay 0.0005, dropout, raw pixels: no Adam and no normalised input needed."""
    split = open_digits().train.take(np.arange(IMAGES))
    squares = np.stack([load_square(split.read(index), 64) for index in range(IMAGES)])
    images = torch.from_numpy(squares).permute(0, 3, 1, 2)
    labels = torch.from_numpy(split.labels)
    model = AlexNet(narrow(name), num_classes=10, seed=0)
    model.mean.copy_(images.float().mean(0))
    optimizer = build_optimizer(model, OptimizerConfig())
    per_epoch = IMAGES // BATCH
    model.train()
    for step in range(STEPS):
        place = step % per_epoch * BATCH
        chosen = permutation(0, step // per_epoch, IMAGES)[place : place + BATCH]
        keys = torch.from_numpy(sample_keys(0, step, np.arange(BATCH)))
        set_rates(optimizer, Rates(weights=RATE, biases=RATE, layer_factors={}))
        optimizer.zero_grad()
        backward(F.cross_entropy(model(images[chosen], keys), labels[chosen]))
        optimizer.step()
    model.eval()
    with torch.no_grad():
        error = (model(images).argmax(1) != labels).double().mean().item()
    assert error < 0.05
