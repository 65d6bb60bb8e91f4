"""A network ready to train for a few steps, outside any run directory."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from alexnet.config import Config
from alexnet.data.batches import NO_IMAGE, Batch, TrainingFeed
from alexnet.draws import sample_keys
from alexnet.model.build import build_network
from alexnet.model.catalog import resolve
from alexnet.parallel.layouts import place
from alexnet.parallel.world import World
from alexnet.training.data import Data
from alexnet.training.finetune import freeze, start_weights
from alexnet.training.loop import State
from alexnet.training.optimizer import build_optimizer, set_rates
from alexnet.training.schedule import Rates


@dataclass(frozen=True)
class Bench:
    """A new training state and what it is fed with."""

    state: State
    feed: TrainingFeed
    world: World
    config: Config


def new_bench(config: Config, world: World, data: Data) -> Bench:
    """As a run would begin."""
    model = build_network(resolve(config.model), len(data.source.classes), config.train.seed)
    model.classes = tuple(data.source.classes)
    model.mean.copy_(data.mean(config.data.mean, model.variant.image_size))
    start_weights(model, config)
    freeze(model, config)
    network = place(model, "one", world)
    network.module.train()
    state = State(
        network=network,
        optimizer=build_optimizer(network.parts, config.optimizer),
        sums=torch.zeros(4, dtype=torch.float64, device=world.device),
    )
    feed = TrainingFeed(
        images=data.train,
        components=data.statistics.components,
        augment=config.augment,
        crop_size=model.variant.image_size,
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        micro_batch_size=config.train.micro_batch_size,
    )
    return Bench(state, feed, world, config)


def train_pass(bench: Bench, step: int, batch: Batch, lr: float) -> float:
    """One pass of a step, the last of which updates at the given rate; its part of the loss."""
    state, world, optimizer = bench.state, bench.world, bench.config.optimizer
    factors = {layer: factor for layer, first, factor in optimizer.layer_rates if first <= 1}
    set_rates(state.optimizer, Rates(lr, lr * optimizer.bias_lr_factor, factors))
    keys = torch.from_numpy(sample_keys(bench.config.train.seed, step, batch.positions))
    with world.autocast():
        logits = state.network.module(batch.colored(state.network.mean), keys.to(world.device))
    summed = F.cross_entropy(logits.float(), batch.labels, reduction="sum", ignore_index=NO_IMAGE)
    loss = summed / batch.total
    loss.backward()  # type: ignore[no-untyped-call]
    if batch.ends_step:
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())
