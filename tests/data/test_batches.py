"""Training batches: every image once an epoch, whoever prepares them, and rightly coloured."""

import contextlib
import itertools
import threading
from typing import Any

import numpy as np
import pytest
import torch

from alexnet.config import AugmentConfig
from alexnet.data.augment import IMAGENET_COMPONENTS, color_shifts, draw
from alexnet.data.batches import Batch, TrainingFeed, training_batches
from alexnet.data.pixels import ImageSet, images_in_memory
from alexnet.draws import permutation


def image_set(count: int = 23, side: int = 12) -> ImageSet:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return images_in_memory(pixels, np.arange(count) * 10, [f"image {i}" for i in range(count)])


def feed(batch_size: int = 5, seed: int = 0, **augment: object) -> TrainingFeed:
    return TrainingFeed(
        images=image_set(),
        components=IMAGENET_COMPONENTS,
        augment=AugmentConfig(**augment),  # type: ignore[arg-type]
        crop_size=8,
        batch_size=batch_size,
        seed=seed,
    )


def batches(feed: TrainingFeed, first: int, last: int, workers: int = 2) -> list[Batch]:
    return list(training_batches(feed, first, last, workers))


def assert_equal(a: Batch, b: Batch) -> None:
    assert torch.equal(a.images, b.images)
    assert torch.equal(a.labels, b.labels)
    assert a.color_divisor == b.color_divisor
    assert (a.color_shifts is None) == (b.color_shifts is None)
    if a.color_shifts is not None and b.color_shifts is not None:
        assert torch.equal(a.color_shifts, b.color_shifts)
    np.testing.assert_array_equal(a.positions, b.positions)


@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_an_epoch_shows_every_image_once(batch_size: int) -> None:
    made = feed(batch_size)
    assert made.steps_per_epoch == -(-23 // batch_size)
    orders = []
    for epoch in range(2):
        first = epoch * made.steps_per_epoch
        labels = [batch.labels for batch in batches(made, first, first + made.steps_per_epoch)]
        assert [len(part) for part in labels[:-1]] == [batch_size] * (len(labels) - 1)
        orders.append(torch.cat(labels).tolist())
        assert sorted(orders[-1]) == [10 * i for i in range(23)]
    assert orders[0] != orders[1]


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_batches_are_the_same_for_any_number_of_workers(workers: int) -> None:
    made = feed(color="original")
    for a, b in zip(batches(made, 0, 12, 2), batches(made, 0, 12, workers), strict=True):
        assert_equal(a, b)


def test_batches_begin_anywhere_at_once() -> None:
    """Across an epoch's end, with noise that ends there."""
    made = feed(color="original", color_epochs=1)
    whole = batches(made, 0, 12)
    for first in (0, 3, 4, 5, 11):
        for a, b in zip(whole[first:], batches(made, first, 12), strict=True):
            assert_equal(a, b)
    assert batches(made, 12, 12) == []
    assert whole[4].color_shifts is not None
    assert len(whole[4].labels) == 3  # 23 images in batches of 5
    assert whole[5].color_shifts is None


def test_batches_hold_the_drawn_crops_of_the_drawn_order() -> None:
    made = feed(color="original", seed=9)
    for step, batch in enumerate(batches(made, 0, 10)):
        epoch, place = divmod(step, 5)
        samples = permutation(9, epoch, 23)[5 * place : 5 * place + 5]
        np.testing.assert_array_equal(batch.labels.numpy(), 10 * samples)
        np.testing.assert_array_equal(batch.positions, np.arange(len(samples)))
        draws = draw(made.augment, 9, epoch, samples, 4)
        for row, sample in enumerate(samples):
            top, left = draws.offsets[row]
            window = made.images.store.picture(sample)[top : top + 8, left : left + 8]
            if draws.mirrored[row]:
                window = np.fliplr(window)
            np.testing.assert_array_equal(batch.images[row].permute(1, 2, 0).numpy(), window)
        shifts = color_shifts("original", 0.1, draws.colors, IMAGENET_COMPONENTS)
        assert batch.color_shifts is not None
        np.testing.assert_allclose(batch.color_shifts.numpy(), shifts, rtol=1e-6)


def test_images_are_bytes_in_channels_last_order() -> None:
    (batch,) = batches(feed(), 0, 1)
    assert batch.images.dtype == torch.uint8
    assert batch.images.shape == (5, 3, 8, 8)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_noise_is_constant_inside_an_image_and_differs_between_images() -> None:
    (batch,) = batches(feed(color="paper"), 0, 1)
    colored = batch.colored(torch.zeros(3, 8, 8))
    shifts = (colored - batch.images).flatten(2)
    assert torch.allclose(shifts, shifts[:, :, :1].expand_as(shifts), atol=1e-4)
    for a, b in itertools.combinations(shifts[:, :, 0], 2):
        assert not torch.allclose(a, b, atol=0.01)


def test_the_authors_divide_after_the_mean_is_subtracted_and_the_noise_added() -> None:
    """(pixels - mean + noise) / 1.1 is what the network computes with; the mean is not divided."""
    mean = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) * 255
    (batch,) = batches(feed(color="original"), 0, 1)
    assert batch.color_divisor == pytest.approx(1.1)
    assert batch.color_shifts is not None
    seen_by_network = batch.colored(mean) - mean
    expected = (batch.images - mean + batch.color_shifts[:, :, None, None]) / 1.1
    torch.testing.assert_close(seen_by_network, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("color", ["paper", "original"])
def test_coloured_images_stay_channels_last(color: str) -> None:
    mean = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) * 255
    (batch,) = batches(feed(color=color), 0, 1)
    assert batch.color_shifts is not None
    colored = batch.colored(mean)
    assert colored.stride() == batch.images.stride()
    noisy = batch.images + batch.color_shifts[:, :, None, None]
    expected = noisy if color == "paper" else mean + (noisy - mean) / batch.color_divisor
    assert torch.equal(colored, expected)


def test_convention_paper_does_not_divide() -> None:
    mean = torch.full((3, 8, 8), 100.0)
    (batch,) = batches(feed(color="paper"), 0, 1)
    assert batch.color_shifts is not None
    expected = batch.images + batch.color_shifts[:, :, None, None]
    torch.testing.assert_close(batch.colored(mean), expected)


def test_without_noise_the_bytes_are_left_alone() -> None:
    (batch,) = batches(feed(color="none"), 0, 1)
    assert batch.colored(torch.zeros(3, 8, 8)) is batch.images


def test_an_image_is_coloured_anew_in_every_epoch_and_alike_in_a_repetition() -> None:
    made = feed(23, color="paper")
    first, second, again = *batches(made, 0, 2), batches(made, 0, 1)[0]
    assert first.color_shifts is not None
    assert second.color_shifts is not None
    by_image = [b.color_shifts[b.labels.argsort()] for b in (first, second, again)]  # type: ignore[index]
    assert (by_image[0] != by_image[1]).all()
    assert torch.equal(by_image[0], by_image[2])


def test_cut_takes_one_view_of_each_sample() -> None:
    images = image_set(4, 6)
    views = [(0, 0, False), (2, 1, True)]
    found = images.store.cut([3, 1], views, 4)
    third, first = images.store.picture(3), images.store.picture(1)
    np.testing.assert_array_equal(found[0].permute(1, 2, 0), third[:4, :4])
    np.testing.assert_array_equal(found[1].permute(1, 2, 0), first[2:6, 1:5][:, ::-1])


def test_the_next_batches_are_made_while_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 4.1: "while the GPU is training on the previous batch"."""
    made = feed()
    ahead, cut = threading.Semaphore(0), made.images.store.cut

    def counted(*arguments: Any) -> torch.Tensor:
        ahead.release()
        return cut(*arguments)

    monkeypatch.setattr(type(made.images.store), "cut", lambda store, *rest: counted(*rest))
    with contextlib.closing(training_batches(made, 0, 5, 2)) as coming:
        next(coming)  # is held; nobody asks for more
        assert all(ahead.acquire(timeout=60) for _ in range(3))


def test_an_error_of_a_worker_reaches_the_loop() -> None:
    made = feed()
    broken = TrainingFeed(
        ImageSet(image_set(10).store, made.images.labels, made.images.keys),
        *(made.components, made.augment, made.crop_size, made.batch_size, made.seed),
    )
    with pytest.raises(IndexError):
        batches(broken, 0, 5)


def test_the_loop_may_stop_early() -> None:
    made = training_batches(feed(), 0, 10_000, 2)
    next(made)
    made.close()
    with pytest.raises(StopIteration):
        next(made)
