"""The rate range test: what it reads off, and that nothing is left of it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet.config import ModelConfig, override
from alexnet.data.batches import training_batches
from alexnet.defaults import DataFacts
from alexnet.errors import UserError
from alexnet.parallel.world import make_world
from alexnet.recipes import cifar_18, default
from alexnet.training.data import load_data
from alexnet.tuning.range_test import judge, range_test, save_plot, smoothed, sweep_steps
from alexnet.tuning.setup import Bench, new_bench, train_pass


@pytest.fixture(scope="module")
def bench() -> Bench:
    config = override(
        default(DataFacts(1463, 10, mirror=False, crop=False)),
        [
            *("model.width=0.0625", "model.image_size=48"),
            *("data.size=54", "train.device=cpu", "train.precision=fp32", "augment.color=none"),
        ],
    )
    assert isinstance(config.model, ModelConfig)
    world = make_world("cpu", "fp32")
    return new_bench(config, world, load_data(config, world))


def test_the_state_is_restored_to_the_bit(bench: Bench) -> None:
    """Also in the middle of a training, whose next step is as if nothing had happened."""
    batches = list(training_batches(bench.feed, 0, 3, 1))
    for step in range(2):
        train_pass(bench, step, batches[step], 0.001)
    before = {name: tensor.clone() for name, tensor in bench.state.tensors().items()}
    test = range_test(bench, steps=12)
    after = bench.state.tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    train_pass(bench, 2, batches[2], 0.001)
    moved = {name: tensor.clone() for name, tensor in bench.state.tensors().items()}
    bench.state.restore(bench.state.position, before)
    train_pass(bench, 2, batches[2], 0.001)
    assert all(torch.equal(moved[n], tensor) for n, tensor in bench.state.tensors().items())
    assert test.rates == sorted(test.rates)


@pytest.mark.parametrize(("training", "sweep"), [(5, 20), (450, 20), (966, 38), (10**6, 60)])
def test_the_test_takes_a_few_per_cent_of_the_training(training: int, sweep: int) -> None:
    assert sweep_steps(training) == sweep


def test_the_configured_rate_is_in_the_middle(bench: Bench) -> None:
    rates = range_test(bench, steps=5).rates
    assert rates[2] == pytest.approx(bench.config.optimizer.lr)
    assert rates[4] / rates[0] == pytest.approx(10 ** (4 * 4 / 59))


def test_the_suggestion_is_where_updates_are_healthy() -> None:
    rates = np.geomspace(1e-5, 1e-1, 60).tolist()
    losses = [2.3] * 60
    suggested = judge(rates, losses, [rate * 0.5 for rate in rates], 10).suggested
    assert suggested == pytest.approx(0.004, rel=0.02)


def test_a_loss_that_breaks_out_is_an_upper_bound() -> None:
    rates = np.geomspace(1e-5, 1e-1, 60).tolist()[:40]
    losses = [2.3] * 36 + [9.0, 30.0, 100.0, math.inf]
    test = judge(rates, losses, [rate * 0.05 for rate in rates], 10)
    assert test.breaks_at == rates[-1]
    assert test.suggested <= rates[-1] / 4 * 1.05
    assert "breaks out" in test.reason


def test_smoothing_is_free_of_its_beginning() -> None:
    assert smoothed([3.0, 3.0, 3.0]) == pytest.approx([3.0] * 3)


def test_updates_are_read_off_a_velocity(bench: Bench) -> None:
    rule = replace(bench.config.optimizer, momentum=0.0)
    without = replace(bench, config=replace(bench.config, optimizer=rule))
    with pytest.raises(UserError, match="momentum"):
        range_test(without, steps=12)


def test_the_plot_is_written(bench: Bench, tmp_path: Path) -> None:
    test = range_test(bench, steps=6)
    save_plot(test, tmp_path / "range.png")
    assert (tmp_path / "range.png").read_bytes().startswith(b"\x89PNG")


def test_a_suggestion_beyond_the_rates_tried_says_so() -> None:
    rates = np.geomspace(1e-3, 2e-3, 20).tolist()
    for slope, suggested in ((0.1, 0.02), (1.0, 0.002), (10.0, 2e-4)):
        test = judge(rates, [2.3] * 20, [rate * slope for rate in rates], 10)
        assert test.suggested == pytest.approx(suggested)
        assert ("outside the rates tried" in test.reason) == (slope != 1.0)


def test_a_sweep_without_a_usable_update_does_not_claim_one() -> None:
    rates = np.geomspace(1e-5, 1e-1, 60).tolist()
    test = judge(rates, [2.3] * 60, [0.0] * 60, 10)
    assert test.suggested == pytest.approx(1e-3)
    assert (
        test.reason == "the middle of the rates tried; no update was near the size of a healthy one"
    )


def test_a_sweep_that_diverges_at_once_is_plotted(tmp_path: Path) -> None:
    save_plot(judge([1e-3, 2e-3], [2.3, math.inf], [0.01, math.nan], 10), tmp_path / "range.png")


def test_a_net_for_small_images_is_tested_too() -> None:
    config = cifar_18(DataFacts(1463, 10, mirror=False))
    config = override(config, ["data.source=digits", "model.width=0.25", "train.device=cpu"])
    world = make_world("cpu", "fp32")
    small = new_bench(config, world, load_data(config, world))
    assert len(range_test(small, steps=3).rates) == 3
