"""Neighbours against a loop."""

import numpy as np
import pytest

from alexnet.evaluation import neighbors
from alexnet.evaluation.neighbors import nearest, precision


@pytest.mark.parametrize("block", [3, 1024])
def test_is_the_sorted_loop(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "_BLOCK", block)
    rng = np.random.default_rng(0)
    queries, gallery = (rng.normal(size=(n, 7)).astype(np.float32) for n in (5, 20))
    found, distances = nearest(queries, gallery, 4)
    for query, places, lengths in zip(queries, found, distances, strict=True):
        exact = np.sqrt(((gallery.astype(np.float64) - query) ** 2).sum(1))
        np.testing.assert_array_equal(places, np.argsort(exact)[:4])
        np.testing.assert_allclose(lengths, np.sort(exact)[:4], rtol=1e-5)


def test_small_distances_between_large_vectors_are_not_lost() -> None:
    gallery = np.array([[10_000.0, 10_000.0], [10_000.0, 10_000.01]], dtype=np.float32)
    found, _ = nearest(gallery[1:], gallery, 1)
    assert found.tolist() == [[1]]


@pytest.mark.parametrize("block", [2, 1024])
def test_itself_may_be_left_out(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "_BLOCK", block)
    vectors = np.array([[0.0], [1.0], [3.0]], dtype=np.float32)
    found, distances = nearest(vectors, vectors, 1, leave_out_self=True)
    assert found.ravel().tolist() == [1, 0, 1]
    assert distances.ravel().tolist() == [1.0, 1.0, 2.0]


def test_precision_counts_neighbours_of_the_same_class() -> None:
    found = precision(np.array([[0, 1], [2, 0]]), np.array([5, 6]), np.array([5, 6, 6]))
    assert found == pytest.approx(2 / 4)
