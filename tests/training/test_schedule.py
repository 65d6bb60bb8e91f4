"""Learning rates against lists written by hand and the authors' run notes."""

import itertools
import math
from typing import Any

import pytest

from alexnet.config import OptimizerConfig, ScheduleConfig
from alexnet.data.augment import color_divisor, has_color_noise
from alexnet.defaults import DataFacts
from alexnet.recipes import original, paper
from alexnet.training.schedule import (
    Moment,
    is_finished,
    plateaus,
    rate_factor,
    rates,
    warmup_steps,
)

IMAGENET = DataFacts(images=1_261_406, classes=1000, mirror=True)


def moment(step: int, total: int = 100, per_epoch: int = 10, errors: Any = ()) -> Moment:
    return Moment(step, total, per_epoch, errors)


def factors(schedule: ScheduleConfig, steps: int, total: int = 100) -> list[float]:
    return [rate_factor(schedule, moment(step, total)) for step in range(steps)]


def test_epochs_are_counted_from_1() -> None:
    assert [moment(step).epoch for step in (0, 9, 10, 19, 20)] == [1, 1, 2, 2, 3]


def test_constant() -> None:
    assert factors(ScheduleConfig(kind="constant"), 100) == [1.0] * 100


def test_steps_drop_at_the_first_step_of_a_milestone() -> None:
    schedule = ScheduleConfig(kind="steps", factor=0.1, milestones=(3, 5))
    expected = [1.0] * 20 + [0.1] * 20 + [0.01] * 20
    assert factors(schedule, 60) == pytest.approx(expected, rel=1e-12)


def test_polynomial() -> None:
    linear = ScheduleConfig(kind="polynomial", power=1.0)
    assert factors(linear, 5, total=5) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    square = ScheduleConfig(kind="polynomial", power=2.0, final_factor=0.1)
    expected = [0.1 + 0.9 * share for share in (1.0, 0.5625, 0.25, 0.0625)]
    assert factors(square, 4, total=4) == pytest.approx(expected)


def test_cosine() -> None:
    schedule = ScheduleConfig(kind="cosine")
    expected = [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    assert factors(schedule, 4, total=4) == pytest.approx(expected)
    raised = ScheduleConfig(kind="cosine", final_factor=0.2)
    assert factors(raised, 4, total=4) == pytest.approx([0.2 + 0.8 * x for x in expected])


@pytest.mark.parametrize("kind", ["constant", "steps", "polynomial", "cosine", "plateau"])
def test_warm_up_rises_evenly_to_the_full_rate(kind: Any) -> None:
    schedule = ScheduleConfig(kind=kind, warmup_epochs=0.4, milestones=(9,))
    found = factors(schedule, 5, total=100)
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_falling_begins_after_the_warm_up_and_uses_the_rest_of_the_run() -> None:
    schedule = ScheduleConfig(kind="polynomial", warmup_epochs=0.2)
    falling = [1.0, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert factors(schedule, 8, total=8) == pytest.approx([1 / 3, 2 / 3, *falling])


def test_warm_up_takes_a_quarter_of_a_short_run_at_most() -> None:
    schedule = ScheduleConfig(kind="constant", warmup_epochs=20.0)
    assert factors(schedule, 8, total=8) == pytest.approx([1 / 3, 2 / 3, *[1.0] * 6])


def test_warm_up_of_part_of_a_step_does_not_overshoot() -> None:
    found = factors(ScheduleConfig(kind="constant", warmup_epochs=0.25), 6)
    assert all(0 < a <= b <= 1 for a, b in itertools.pairwise(found))
    assert found[3:] == [1.0, 1.0, 1.0]


# --- the rule of section 5 -------------------------------------------------------------------


@pytest.mark.parametrize(("errors", "expected"), [
    ([], 0),
    ([0.9, 0.8, 0.7], 0),
    ([0.9, 0.9, 0.9], 0),  # two evaluations without improvement
    ([0.9, 0.9, 0.9, 0.9], 1),  # three
    ([0.9, 0.9, 0.9, 0.8, 0.8, 0.8], 0),  # an improvement begins the count anew
    ([0.5, 0.9, 0.8, 0.7], 1),  # better than before is not better than the best
    ([0.5] + [0.5] * 6, 2),
    ([0.5] + [0.5] * 3 + [0.4] + [0.4] * 3, 2),
    ([0.5] + [0.5] * 12, 4),
    ([0.9, math.nan, math.nan, math.nan], 1),  # nothing is worse than no number
])  # fmt: skip
def test_plateaus(errors: list[float], expected: int) -> None:
    assert (
        plateaus(ScheduleConfig(kind="plateau", patience=3), moment(0, errors=errors)) == expected
    )


def test_rate_drops_three_times_and_the_fourth_plateau_ends_the_run() -> None:
    """ "reduced three times prior to termination" """
    schedule = ScheduleConfig(kind="plateau", patience=2, drops=3, factor=0.1)
    errors = [0.9] + [0.9] * 8
    seen = []
    for count in range(1, len(errors) + 1):
        now = moment(10 * count, total=10_000, errors=errors[:count])
        seen.append((rate_factor(schedule, now), is_finished(schedule, now)))
    expected = [1.0, 1.0, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.001]
    assert [factor for factor, _ in seen] == pytest.approx(expected)
    assert [finished for _, finished in seen] == [False] * 8 + [True]


def test_a_run_ends_with_its_steps() -> None:
    for schedule in (ScheduleConfig(kind="plateau"), ScheduleConfig(kind="cosine")):
        assert not is_finished(schedule, moment(99))
        assert is_finished(schedule, moment(100))
    never = ScheduleConfig(kind="constant")
    assert not is_finished(never, moment(50, errors=[0.9] * 50))


def test_recipe_paper_follows_section_5() -> None:
    config = paper(IMAGENET)
    steps = 9855
    start = rates(config.optimizer, config.schedule, moment(0, 10**6, steps))
    assert start.of("conv1", False) == start.of("conv1", True) == 0.01
    errors = [0.6] + [0.6] * 9
    end = rates(config.optimizer, config.schedule, moment(10 * steps, 10**6, steps, errors))
    assert end.of("fc8", False) == end.of("fc8", True) == pytest.approx(1e-5)


# --- the authors' run notes ------------------------------------------------------------------

# First epochs of layer-params-145-2010.cfg: weights of conv1, weights elsewhere, biases elsewhere.
AUTHORS = {
    1: (1e-2, 1e-2, 2e-2),
    22: (1e-2, 1e-2, 2e-2),
    23: (1e-3, 1e-3, 2e-3),
    50: (1e-3, 1e-3, 2e-3),
    51: (1e-4, 1e-4, 2e-3),  # the rate of biases drops once and stays
    67: (1e-4, 1e-4, 2e-3),
    68: (1e-5, 1e-4, 2e-3),
    71: (1e-5, 1e-4, 2e-3),
    72: (0.0, 1e-4, 2e-3),  # frozen
    77: (0.0, 1e-4, 2e-3),
    78: (0.0, 1e-5, 2e-3),
    93: (0.0, 1e-5, 2e-3),
}


@pytest.mark.parametrize("epoch", AUTHORS)
@pytest.mark.parametrize("first", [True, False])
def test_recipe_original_follows_the_run_notes(epoch: int, first: bool) -> None:
    """At the first and at the last step of each epoch."""
    config = original(IMAGENET)
    per_epoch = 9855
    step = (epoch - 1) * per_epoch + (0 if first else per_epoch - 1)
    now = rates(config.optimizer, config.schedule, moment(step, 93 * per_epoch, per_epoch))
    conv1, weights, biases = AUTHORS[epoch]
    assert now.of("conv1", False) == pytest.approx(conv1, rel=1e-12)
    for layer in ("conv2", "conv5", "fc6", "fc8"):
        assert now.of(layer, False) == pytest.approx(weights, rel=1e-12)
        assert now.of(layer, True) == pytest.approx(biases, rel=1e-12)
    assert (now.of("conv1", True) == 0.0) == (epoch >= 72)


def test_recipe_original_ends_colour_noise_with_epoch_67() -> None:
    config = original(IMAGENET)
    noisy = [epoch for epoch in range(1, 94) if has_color_noise(config.augment, epoch - 1)]
    assert noisy == list(range(1, 68))
    assert color_divisor(config.augment, 66) == pytest.approx(1.1)
    assert color_divisor(config.augment, 67) == 1.0
    assert config.train.epochs == 93


def test_the_last_rule_of_a_layer_counts_in_any_order() -> None:
    rules = (("conv1", 7, 0.0), ("conv2", 3, 0.5), ("conv1", 5, 0.1))
    optimizer = OptimizerConfig(lr=1.0, layer_rates=rules)
    found = [
        rates(optimizer, ScheduleConfig(), moment(10 * (epoch - 1))).of("conv1", False)
        for epoch in (4, 5, 6, 7, 8)
    ]
    assert found == [1.0, 0.1, 0.1, 0.0, 0.0]
    assert rates(optimizer, ScheduleConfig(), moment(60)).layer_factors == {
        "conv1": 0.0,
        "conv2": 0.5,
    }


def test_bias_rate_stops_at_its_floor() -> None:
    schedule = ScheduleConfig(kind="steps", milestones=(2, 3, 4))

    def biases(floor: float) -> list[float]:
        optimizer = OptimizerConfig(lr=0.01, bias_lr_factor=2.0, bias_lr_floor=floor)
        steps = (0, 10, 20, 30)
        return [rates(optimizer, schedule, moment(step)).of("fc6", True) for step in steps]

    assert biases(0.1) == pytest.approx([0.02, 0.002, 0.002, 0.002])
    assert biases(0.0) == pytest.approx([0.02, 0.002, 0.0002, 0.00002])  # Caffe's lr_mult 2


def test_the_warm_up_of_a_short_run_ends_after_a_quarter() -> None:
    for epochs, steps in ((0.0, 0.0), (1.0, 10.0), (90.0, 25.0)):
        assert warmup_steps(ScheduleConfig(warmup_epochs=epochs), Moment(0, 100, 10)) == steps
