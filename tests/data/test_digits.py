"""The embedded digits: the real ones, exactly scaled, honestly split."""

import hashlib

import numpy as np
import pytest

from alexnet.data.digits import open_digits
from alexnet.data.images import decode
from alexnet.data.sources import open_source

# The first image of the set, as its README prints such images: a 0 with values from 0 to 16.
FIRST = [
    [0, 0, 5, 13, 9, 1, 0, 0],
    [0, 0, 13, 15, 10, 15, 5, 0],
    [0, 3, 15, 2, 0, 11, 8, 0],
    [0, 4, 12, 0, 0, 8, 8, 0],
    [0, 5, 8, 0, 0, 9, 8, 0],
    [0, 4, 11, 0, 1, 12, 7, 0],
    [0, 2, 14, 5, 10, 12, 0, 0],
    [0, 0, 6, 13, 10, 0, 0, 0],
]


def test_the_digits_are_all_there():
    source = open_digits()
    assert (source.name, source.kind, source.mirror) == ("digits", "digits", False)
    assert source.classes == tuple("0123456789")
    keys = [*source.train.keys, *source.validation.keys]
    assert len(set(keys)) == len(keys) == 1797
    labels = np.concatenate([source.train.labels, source.validation.labels])
    expected = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # from the set's description
    assert np.bincount(labels).tolist() == expected
    assert 0.17 < len(source.validation) / 1797 < 0.23
    assert np.bincount(source.validation.labels, minlength=10).min() >= 15


def test_pixels_are_scaled_to_the_full_range():
    source = open_digits()
    image = decode(source.train.read(list(source.train.keys).index("0/0000.png")))
    expected = [[round(value * 255 / 16) for value in row] for row in FIRST]
    for channel in range(3):
        np.testing.assert_array_equal(np.asarray(image)[..., channel], expected)


def test_sides_are_decided_by_the_pixels():
    source = open_digits(validation_fraction=0.3)
    for split, expected in ((source.train, False), (source.validation, True)):
        for i in range(0, len(split), 40):
            levels = np.asarray(decode(split.read(i)))[..., 0].astype(int)
            values = np.round(levels * 16 / 255).astype(np.uint8)
            digest = hashlib.sha256(values.tobytes()).digest()
            assert (int.from_bytes(digest[:8], "big") / 2**64 < 0.3) == expected


def test_a_larger_fraction_only_adds():
    small, large = (set(open_digits(validation_fraction=f).validation.keys) for f in (0.1, 0.2))
    assert small < large


def test_taking_some_images_keeps_keys_labels_and_bytes_together():
    train = open_source("digits").train
    some = train.take(np.array([5, 2, 9]))
    assert list(some.keys) == [train.keys[i] for i in (5, 2, 9)]
    assert some.labels.tolist() == [train.labels[i] for i in (5, 2, 9)]
    assert [some.read(j) for j in range(3)] == [train.read(i) for i in (5, 2, 9)]


def test_the_label_is_what_the_picture_shows():
    """Each held-out digit is nearest to a training digit of its own class, nearly always."""
    source = open_digits()

    def pixels(split):
        return np.stack(
            [np.asarray(decode(split.read(i)))[..., 0].ravel() for i in range(len(split))]
        )

    train, held_out = pixels(source.train).astype(float), pixels(source.validation).astype(float)
    distances = (held_out**2).sum(1)[:, None] - 2 * held_out @ train.T + (train**2).sum(1)
    right = source.train.labels[distances.argmin(axis=1)] == source.validation.labels
    assert right.mean() == pytest.approx(0.985, abs=0.015)
