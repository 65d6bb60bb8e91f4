"""A budget: how it is read, and that what is planned ends in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.config import Config, override
from alexnet.data.sources import open_source
from alexnet.defaults import DataFacts
from alexnet.errors import UserError
from alexnet.recipes import default, original
from alexnet.tuning import budget
from alexnet.tuning.budget import (
    Costs,
    fit_to_budget,
    measure_costs,
    plan_epochs,
    read_duration,
)

CONFIG = default(DataFacts(1000, 10, mirror=True))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("1.5h", 5400)],
)
def test_reads_times(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds
    assert read_duration("45") == 45 * 60


@pytest.mark.parametrize("text", ["", "soon", "30 m", "m30", "-3m", "3x"])
def test_other_words_are_no_times(text: str) -> None:
    with pytest.raises(UserError, match="--budget wants a time"):
        read_duration(text)


@given(
    st.floats(60, 100_000),
    st.floats(0.001, 2.0),
    st.floats(1e-4, 0.05),
    st.integers(20, 100_000),
)
def test_what_is_planned_ends_in_the_budget(
    seconds: float, step: float, image: float, train: int
) -> None:
    validation = train // 5
    costs = Costs(step, image, 1e-4)
    fixed = 8.0 + (train + validation) * 1e-4 + validation * image
    try:
        planned = plan_epochs(CONFIG, seconds, costs, train, validation)
    except UserError:
        assert 0.92 * seconds < fixed + step + validation * image
        return
    steps = train / min(train, CONFIG.train.batch_size)  # a short one takes less time
    if planned.train.steps is not None:
        assert planned.train.epochs == 1
        assert planned.train.steps < steps
        time = planned.train.steps * step + validation * image
    else:
        time = planned.train.epochs * (steps * step + validation * image)
        one_more = time + steps * step + validation * image
        # Nothing that fits is given away, unless it would be far more than is chosen without.
        assert planned.train.epochs == 3 * CONFIG.train.epochs or fixed + one_more > 0.92 * seconds
    assert fixed + time <= 0.92 * seconds * (1 + 1e-9)


def test_a_warm_up_does_not_eat_a_short_run() -> None:
    planned = plan_epochs(CONFIG, 120, Costs(0.3, 0.01, 0.0), 1000, 200)
    assert planned.train.epochs < 12
    assert planned.schedule.warmup_epochs <= max(0.5, 0.15 * planned.train.epochs)


def test_more_threads_than_cores_decode_no_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "cores", lambda: 2)
    monkeypatch.setattr(budget, "perf_counter", iter([0.0, 3.2] * 3).__next__)
    each = [budget._decoding(open_source("digits"), 72, workers) for workers in (1, 2, 16)]
    assert each == pytest.approx([0.1, 0.05, 0.05])


def test_what_moves_along_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(budget, "measure_costs", lambda *things: Costs(1.0, 0.0, 0.0))
    planned = fit_to_budget(override(CONFIG, ["data.source=digits"]), 300.0)
    assert planned.train.epochs < CONFIG.train.epochs
    said = f"schedule.warmup_epochs {planned.schedule.warmup_epochs}: moved along"
    assert said in capsys.readouterr().err


def test_the_user_cannot_say_both() -> None:
    config = override(CONFIG, ["train.epochs=3"])
    for written in ("train.epochs=3", "train.epochs = 3"):
        with pytest.raises(UserError, match="leave out --epochs"):
            fit_to_budget(config, 100, [written])


def test_what_is_counted_in_epochs_moves_along() -> None:
    """The recipe `original` in 20 epochs instead of 93: all drops, and conv1 slows and freezes."""
    config = original(DataFacts(1000, 10, mirror=True))
    planned = plan_epochs(config, 1900, Costs(10.0, 0.0, 0.0), 1000, 200)
    assert planned.train.epochs == 22
    assert planned.schedule.milestones == (6, 13, 19)
    assert planned.augment.color_epochs == 16
    assert planned.optimizer.layer_rates == (("conv1", 17, 0.1), ("conv1", 18, 0.0))


def test_what_the_user_has_set_stays() -> None:
    given = ["schedule.warmup_epochs=5", "schedule.milestones=[23]", "augment.color_epochs=67"]
    config = override(original(DataFacts(1000, 10, mirror=True)), given)
    planned = plan_epochs(config, 2000, Costs(10.0, 0.0, 0.0), 1000, 200, given)
    assert planned.schedule == config.schedule
    assert planned.augment == config.augment


def test_a_budget_takes_the_place_of_steps_in_a_configuration() -> None:
    short = plan_epochs(CONFIG, 20, Costs(1.0, 0.0, 0.0), 1000, 200)
    assert (short.train.epochs, short.train.steps) == (1, 10)
    longer = plan_epochs(short, 2000, Costs(1.0, 0.0, 0.0), 1000, 200)
    assert (longer.train.epochs, longer.train.steps) == (3, None)


def test_the_planning_is_part_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 140.0])
    monkeypatch.setattr(budget, "monotonic", lambda: next(clock))
    monkeypatch.setattr(budget, "measure_costs", lambda *things: Costs(1.0, 0.0, 0.0))
    config = override(CONFIG, ["data.source=digits"])
    images = len(open_source("digits").train)
    planned = fit_to_budget(config, 100.0).train.steps
    assert planned == plan_epochs(config, 60.0, Costs(1.0, 0.0, 0.0), images, 0).train.steps


def test_costs_are_of_the_training_that_will_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch in passes and on several devices; images that are decoded in every epoch."""
    monkeypatch.setattr(budget, "_seconds_each", lambda work, world: 1.0)
    monkeypatch.setattr(budget, "_decoding", lambda *things: 0.5)
    tiny = ["model.width=0.03125", "model.image_size=48", "data.size=54", "train.device=cpu"]
    config = override(CONFIG, [*tiny, "train.batch_size=96", "train.micro_batch_size=16"])
    source = open_source("digits")
    assert measure_costs(config, source) == Costs(6.0, 1 / 16, 0.5)
    assert measure_costs(config, source, devices=2) == Costs(3.0, 1 / 32, 0.5)
    whole = override(config, ["train.batch_size=100000", "train.micro_batch_size=null"])
    assert measure_costs(whole, source).validation_image == 1 / 1463  # no batch is larger than all
    monkeypatch.setattr(budget, "freeze", lambda model, config: frozen.append(config))
    frozen: list[Config] = []
    measure_costs(whole, source)
    assert frozen == [whole]  # as the training will be
    streamed = override(config, ["data.pixels=stream"])
    assert measure_costs(streamed, source) == Costs(6.0 + 96 * 0.5, 1 / 16 + 0.5, 0.5)
