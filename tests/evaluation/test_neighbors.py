"""Neighbours against a loop."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch

from alexnet import AlexNet
from alexnet.data.pixels import ImageSet, images_in_memory
from alexnet.evaluation import neighbors
from alexnet.evaluation.neighbors import features, nearest, pixels, precision
from alexnet.model.changes import resized
from alexnet.model.variants import VARIANTS
from alexnet.parallel.world import World

Floats = npt.NDArray[np.float32]


def parts(vectors: Floats, length: int) -> Iterator[Floats]:
    yield from (vectors[start : start + length] for start in range(0, len(vectors), length))


@pytest.mark.parametrize("block", [3, 1024])
@pytest.mark.parametrize("length", [1, 3, 7, 20])
def test_is_the_sorted_loop(block: int, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "_BLOCK", block)
    rng = np.random.default_rng(0)
    queries, gallery = (rng.normal(size=(n, 7)).astype(np.float32) for n in (5, 20))
    found, distances = nearest(queries, parts(gallery, length), 4)
    for query, places, lengths in zip(queries, found, distances, strict=True):
        exact = np.sqrt(((gallery.astype(np.float64) - query) ** 2).sum(1))
        np.testing.assert_array_equal(places, np.argsort(exact)[:4])
        np.testing.assert_allclose(lengths, np.sort(exact)[:4], rtol=1e-5)


def test_small_distances_between_large_vectors_are_not_lost() -> None:
    gallery = np.array([[10_000.0, 10_000.0], [10_000.0, 10_000.01]], dtype=np.float32)
    found, _ = nearest(gallery[1:], [gallery], 1)
    assert found.tolist() == [[1]]


def test_precision_counts_neighbours_of_the_same_class() -> None:
    found = precision(np.array([[0, 1], [2, 0]]), np.array([5, 6]), np.array([5, 6, 6]))
    assert found == pytest.approx(2 / 4)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    """Nine images of 72 pixels."""
    drawn = np.random.default_rng(0).integers(0, 256, (9, 72, 72, 3), dtype=np.uint8)
    return images_in_memory(drawn, np.arange(9), [""] * 9)


def test_pixels_are_those_of_the_centre_and_never_all_in_memory(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbors, "_PIXELS_TOGETHER", 4)
    blocks = list(pixels(images, 64))
    assert [len(block) for block in blocks] == [4, 4, 1]
    expected = [images.store.picture(i)[4:68, 4:68].transpose(2, 0, 1).ravel() for i in range(9)]
    np.testing.assert_array_equal(np.concatenate(blocks), expected)
    chosen = np.array([7, 0, 3, 3, 8])
    np.testing.assert_array_equal(
        np.concatenate(list(pixels(images, 64, chosen))), np.array(expected)[chosen]
    )


def test_features_of_chosen_images_are_theirs(images: ImageSet) -> None:
    model = AlexNet(resized(VARIANTS["paper"], 1 / 32, 64), 5, seed=0)
    world = World(0, 1, torch.device("cpu"), "fp32")
    blocks = list(features(model, images, "relu7", world, batch_size=4))
    assert [len(block) for block in blocks] == [4, 4, 1]
    chosen = np.array([8, 2, 5])
    (found,) = features(model, images, "relu7", world, chosen)
    np.testing.assert_allclose(found, np.concatenate(blocks)[chosen], rtol=1e-4, atol=1e-5)
    assert np.abs(found).max() > 0
