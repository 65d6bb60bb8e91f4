"""The square cut out of a picture: two ways to the same bytes, and a third that shares no code."""

from fractions import Fraction
from io import BytesIO
from math import cos, pi, sin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alexnet.data import squaring
from alexnet.data.images import BadImage, decode, load_square
from alexnet.data.squaring import square, square_of_pixels
from alexnet.native.build import library

needs_compiler = pytest.mark.skipif(library("resize") is None, reason="no compiled loops here")


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Pixels that no rounding error can hide in; half of them black or white, to be clipped."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    extreme = rng.integers(0, 2, (height, width, 1), dtype=np.uint8) * 255
    return np.where(rng.random((height, width, 1)) < 0.5, extreme, pixels)


@needs_compiler
@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 130))
def test_the_compiled_loop_gives_pillows_bytes(width, height, size):
    pixels = noise(width, height, width * height)
    expected = square(Image.fromarray(pixels), size)
    np.testing.assert_array_equal(square_of_pixels(pixels, size), expected)


@needs_compiler
@pytest.mark.parametrize(
    ("width", "height"), [(500, 375), (333, 500), (3000, 257), (200, 2000), (255, 256), (40000, 3)]
)
def test_photographs_thin_and_large_ones_too(width, height):
    pixels = noise(width, height)
    expected = square(Image.fromarray(pixels), 256)
    np.testing.assert_array_equal(square_of_pixels(pixels, 256), expected)


@pytest.mark.parametrize(("width", "height", "size"), [(9, 13, 5), (15, 10, 6), (7, 5, 8)])
def test_both_are_the_weighted_sums_that_the_filters_define(width, height, size):
    pixels = noise(width, height, 3)
    expected = oracle(pixels, size)
    np.testing.assert_allclose(square(Image.fromarray(pixels), size), expected, atol=1)
    np.testing.assert_allclose(square_of_pixels(pixels, size), expected, atol=1)


def oracle(pixels: np.ndarray, size: int) -> np.ndarray:
    """The definition, output by output, in exact places and float64."""
    height, width, _ = pixels.shape
    shorter = min(width, height)

    def taps(side: int, index: int) -> list[tuple[int, float]]:
        scaled = int(Fraction(side * size, shorter) + Fraction(1, 2))
        scale = Fraction(side, scaled)
        centre = ((scaled - size) // 2 + index + Fraction(1, 2)) * scale
        stretch = max(scale, Fraction(1))
        weights = [
            (i, curve(float((i + Fraction(1, 2) - centre) / stretch), shorter <= size))
            for i in range(side)
        ]
        total = sum(weight for _, weight in weights)
        return [(i, weight / total) for i, weight in weights]

    rows = np.zeros((height, size, 3))
    for x in range(size):
        rows[:, x] = sum(pixels[:, i] * weight for i, weight in taps(width, x))
    rows = np.clip(np.floor(rows + 0.5), 0, 255)  # bytes lie in between
    out = np.zeros((size, size, 3))
    for y in range(size):
        out[y] = sum(rows[i] * weight for i, weight in taps(height, y))
    return np.clip(np.floor(out + 0.5), 0, 255)


def curve(x: float, cubic: bool) -> float:
    """Hamming-windowed sinc on (-1, 1); Keys' cubic with a = -1/2 on (-2, 2)."""
    x = abs(x)
    if not cubic:
        return (
            0.0
            if x >= 1
            else 1.0
            if x == 0
            else sin(pi * x) / (pi * x) * (0.54 + 0.46 * cos(pi * x))
        )
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


@pytest.mark.parametrize("size", [(301, 277), (280, 399), (64, 64), (17, 90)])
@pytest.mark.parametrize(
    "options", [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_native_files_come_out_the_same_without_a_compiler(monkeypatch, size, options, mode):
    file = BytesIO()
    Image.fromarray(noise(*size)).convert(mode).save(file, "JPEG", quality=90, **options)
    expected = square(decode(file.getvalue()), 64)
    np.testing.assert_array_equal(load_square(file.getvalue(), 64), expected)
    monkeypatch.setattr(squaring, "library", lambda name: None)
    np.testing.assert_array_equal(load_square(file.getvalue(), 64), expected)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_native_file_is_refused(progressive):
    file = BytesIO()
    Image.fromarray(noise(90, 70)).save(file, "JPEG", quality=90, progressive=progressive)
    encoded = file.getvalue()
    for length in range(0, len(encoded) - 2, 37):
        with pytest.raises(BadImage):
            load_square(encoded[:length], 64)
