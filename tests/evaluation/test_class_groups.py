"""Groups of classes that are taken for one another."""

import numpy as np
import pytest

from alexnet.evaluation.class_groups import confused_groups


def planted(groups: int, size: int, seed: int) -> tuple[np.ndarray, list[set[int]]]:
    """A confusion table in which classes are mostly mistaken inside hidden groups."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(groups * size)
    hidden = [set(map(int, part)) for part in np.split(order, groups)]
    confusion = generator.poisson(0.05, (groups * size,) * 2)
    for group in hidden:
        members = sorted(group)
        confusion[np.ix_(members, members)] += generator.poisson(6.0, (size, size))
    return confusion.astype(np.int64), hidden


@pytest.mark.parametrize(("groups", "size"), [(2, 5), (4, 12), (8, 10), (16, 20)])
def test_hidden_groups_are_found(groups: int, size: int) -> None:
    confusion, hidden = planted(groups, size, seed=groups)
    found = confused_groups(confusion, groups)
    assert {frozenset(group) for group in found} == {frozenset(group) for group in hidden}


@pytest.mark.parametrize(("classes", "count"), [(41, 8), (100, 16), (7, 7), (10, 1), (33, 5)])
def test_every_class_is_in_one_group_and_sizes_are_even(classes: int, count: int) -> None:
    confusion = np.random.default_rng(classes).poisson(0.3, (classes, classes)).astype(np.int64)
    groups = confused_groups(confusion, count)
    assert sorted(index for group in groups for index in group) == list(range(classes))
    sizes = [len(group) for group in groups]
    assert len(groups) == count
    assert min(sizes) >= 1
    assert max(sizes) <= -(-classes // count) + 1


def test_without_mistakes_the_classes_keep_their_order() -> None:
    groups = confused_groups(np.diag(np.arange(12)), 3)
    assert [index for group in groups for index in group] == list(range(12))


def test_correct_answers_do_not_matter() -> None:
    confusion, _ = planted(4, 6, seed=3)
    more = confusion + np.diag(np.full(24, 1000))
    assert confused_groups(confusion, 4) == confused_groups(more, 4)
