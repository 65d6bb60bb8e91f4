"""The search space: bounds, inverses, and points that are a pure function of seed and number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.config import Config, override
from alexnet.defaults import DataFacts
from alexnet.model.catalog import resolve
from alexnet.recipes import RECIPES, default
from alexnet.tuning.space import Among, Range, configured, point_of, random_point, space_around

FACTS = DataFacts(1000, 10, mirror=True)
CONFIG = default(FACTS)


@given(st.floats(0, 1), st.booleans())
def test_position_is_the_inverse_of_at(share: float, log: bool) -> None:
    dimension = Range("optimizer.lr", 0.001, 0.1, log)
    value = dimension.at(share)
    assert 0.001 <= value <= 0.1
    assert dimension.position(value) == pytest.approx(share, abs=2e-3)


def test_logarithmic_means_equal_factors() -> None:
    assert Range("optimizer.lr", 0.001, 0.1, log=True).at(0.5) == pytest.approx(0.01)
    assert Range("model.dropout", 0.0, 0.5).at(0.5) == pytest.approx(0.25)
    assert [Among("k", ("a", "b")).at(s) for s in (0.0, 0.49, 0.5, 1.0)] == ["a", "a", "b", "b"]


def test_points_are_different_and_the_same_again() -> None:
    space = space_around(CONFIG)
    points = [random_point(space, 0, number) for number in range(50)]
    assert points == [random_point(space, 0, number) for number in range(50)]
    assert len({tuple(point.items()) for point in points}) == 50
    rates = [point["optimizer.lr"] for point in points]
    assert min(rates) < CONFIG.optimizer.lr / 3 < 3 * CONFIG.optimizer.lr < max(rates)


def test_every_point_is_a_configuration_and_the_first_is_the_default() -> None:
    space = space_around(CONFIG)
    first = configured(CONFIG, point_of(space, CONFIG))
    assert first.optimizer == CONFIG.optimizer
    assert first.schedule == CONFIG.schedule
    assert first.augment == CONFIG.augment
    for number in range(20):
        configured(CONFIG, random_point(space, 1, number))


def test_what_cannot_matter_is_left_out() -> None:
    plain = override(CONFIG, ["augment.color=none", "augment.crop=center"])
    keys = {dimension.key for dimension in space_around(plain)}
    assert not any(key.startswith("augment.") for key in keys)
    assert "model.dropout" in keys
    dry = override(plain, ["model.dropout=0"])
    assert "model.dropout" not in {dimension.key for dimension in space_around(dry)}
    tower = override(Config(), ["model.variant=one-tower"])
    assert "model.initial_scale" not in {d.key for d in space_around(tower)}


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_every_recipe_lies_in_the_space_around_it(recipe: str) -> None:
    config = RECIPES[recipe](FACTS)
    space = space_around(config)
    first = point_of(space, config)
    assert all(0.0 <= d.position(first[d.key]) <= 1.0 for d in space)
    itself = configured(config, first)
    assert resolve(itself.model) == resolve(config.model)
    assert (itself.optimizer, itself.schedule) == (config.optimizer, config.schedule)
    for number in range(5):
        resolve(configured(config, random_point(space, 0, number)).model)


def test_an_unusual_value_is_one_of_the_values() -> None:
    space = space_around(override(CONFIG, ["optimizer.momentum=0.85", "model.dropout=0.1"]))
    among = next(d for d in space if d.key == "optimizer.momentum")
    assert isinstance(among, Among)
    assert among.values == (0.8, 0.85, 0.9, 0.95)
    dropout = next(d for d in space if d.key == "model.dropout")
    assert isinstance(dropout, Range)
    assert (dropout.low, dropout.high) == (0.1, 0.7)


def test_what_the_user_set_is_not_searched_except_the_rate() -> None:
    changes = ["optimizer.lr=0.02", "model.dropout=0", "optimizer.weight_decay=0"]
    config = override(CONFIG, changes)
    space = space_around(config, {"optimizer.lr", "model.dropout", "optimizer.weight_decay"})
    keys = {dimension.key for dimension in space}
    assert "optimizer.lr" in keys
    assert not keys & {"model.dropout", "optimizer.weight_decay"}
    tried = configured(config, random_point(space, 0, 1))
    assert (tried.model.dropout, tried.optimizer.weight_decay) == (0.0, 0.0)


def test_the_trust_coefficient_is_searched_where_there_is_one() -> None:
    lars = override(CONFIG, ["optimizer.kind=lars"])
    assert "optimizer.lars_eta" in {d.key for d in space_around(lars)}
    assert "optimizer.lars_eta" not in {d.key for d in space_around(CONFIG)}
