"""The 2012 rule on the 2012 network learns: the cheapest proof that nothing is wired backwards."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import backward

from alexnet.config import ModelConfig, OptimizerConfig
from alexnet.data.digits import open_digits
from alexnet.data.images import load_square
from alexnet.draws import permutation, sample_keys
from alexnet.model.changes import resolve
from alexnet.model.network import AlexNet
from alexnet.training.optimizer import build_optimizer, set_rates
from alexnet.training.schedule import Rates

IMAGES, BATCH, STEPS, RATE = 256, 32, 150, 0.005


@pytest.mark.parametrize("name", ["paper", "original"])
def test_learns_256_digits_by_heart(name: str) -> None:
    """Momentum 0.9, decay 0.0005, dropout, raw pixels: no Adam and no normalised input needed."""
    split = open_digits().train.take(np.arange(IMAGES))
    squares = np.stack([load_square(split.read(index), 64) for index in range(IMAGES)])
    images = torch.from_numpy(squares).permute(0, 3, 1, 2)
    labels = torch.from_numpy(split.labels)
    model = AlexNet(resolve(ModelConfig(name, width=1 / 8, image_size=64)), num_classes=10, seed=0)
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
