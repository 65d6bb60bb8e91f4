"""The search space: bounds, inverses, and points that are a pure function of seed and number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.config import Config, override
from alexnet.recipes import DataFacts, default
from alexnet.tuning.space import Among, Range, configured, point_of, random_point, space_around

CONFIG = default(DataFacts(1000, 10, mirror=True))


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
    tower = override(Config(), ["model.variant=one-tower"])
    assert "model.initial_scale" not in {d.key for d in space_around(tower)}
