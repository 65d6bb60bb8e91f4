"""Section 4.1 as pure functions: translations, reflections, colour noise, ten views."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.config import AugmentConfig
from alexnet.data.augment import (
    IMAGENET_COMPONENTS,
    center_view,
    color_divisor,
    color_shifts,
    draw,
    has_color_noise,
    nine_views,
    ten_views,
)
from alexnet.data.pixels import DevicePixels, HostPixels
from alexnet.data.statistics import Components

Pixels = npt.NDArray[np.uint8]
Store = type[HostPixels] | type[DevicePixels]
STORES = (HostPixels, DevicePixels)

# fb.resnet.torch, datasets/imagenet.lua: eigenvalues of pixels in [0, 1], eigenvectors in columns.
PORTS_EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
PORTS_VECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
)


def cut(pixels: Pixels, top: int, left: int, side: int, mirrored: bool, store: Store) -> Pixels:
    """One view of one picture, through a store of pixels."""
    (view,) = store(torch.from_numpy(pixels[None])).cut([0], [(top, left, mirrored)], side)
    return np.asarray(view.permute(1, 2, 0).numpy())


def noise_pixels(side: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


# --- translations and reflections ------------------------------------------------------------


def test_offsets_cover_all_33_positions_evenly() -> None:
    """0 and 32 included: a range that ends one early is the usual slip."""
    offsets = draw(AugmentConfig(), 0, 0, np.arange(10_000), border=32).offsets
    assert offsets.shape == (10_000, 2)
    for axis in range(2):
        counts = np.bincount(offsets[:, axis], minlength=33)
        assert len(counts) == 33
        chi_square = ((counts - 10_000 / 33) ** 2 / (10_000 / 33)).sum()
        assert chi_square < 32 + 4 * np.sqrt(2 * 32)
    correlation = np.asarray(np.corrcoef(offsets.T))[0, 1]
    assert abs(correlation) < 0.04
    assert len({tuple(pair) for pair in offsets.tolist()}) > 1085  # of 1089 positions


def test_half_of_the_images_are_mirrored_whatever_their_offset() -> None:
    draws = draw(AugmentConfig(), 0, 0, np.arange(10_000), border=32)
    assert abs(draws.mirrored.mean() - 0.5) < 4 * 0.5 / 100
    for axis in range(2):
        assert abs(np.corrcoef(draws.offsets[:, axis], draws.mirrored)[0, 1]) < 0.04


def test_what_is_off_is_off() -> None:
    config = AugmentConfig(crop="center", mirror=False, color="none")
    draws = draw(config, 0, 0, np.arange(50), border=32)
    assert (draws.offsets == 16).all()
    assert not draws.mirrored.any()
    assert not draws.colors.any()


def test_no_border_is_no_choice() -> None:
    assert not draw(AugmentConfig(), 0, 0, np.arange(50), border=0).offsets.any()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 500),
    st.lists(st.integers(0, 2**31), min_size=2, max_size=12),
    st.integers(0, 100),
    st.integers(1, 11),
)
def test_draws_depend_on_the_sample_and_not_on_its_batch(
    seed: int, epoch: int, samples: list[int], border: int, cut: int
) -> None:
    config = AugmentConfig(color="original")
    together = draw(config, seed, epoch, np.array(samples), border)
    assert together.offsets.min() >= 0
    assert together.offsets.max() <= border
    alone = [draw(config, seed, epoch, np.array([sample]), border) for sample in samples]
    for name in ("offsets", "mirrored", "colors"):
        stacked = np.concatenate([getattr(one, name) for one in alone])
        np.testing.assert_array_equal(getattr(together, name), stacked)


def test_epochs_and_seeds_draw_anew() -> None:
    samples = np.arange(1000)
    first = draw(AugmentConfig(), 0, 0, samples, 32)
    for seed, epoch in ((0, 1), (1, 0)):
        other = draw(AugmentConfig(), seed, epoch, samples, 32)
        assert (first.offsets == other.offsets).all(1).sum() < 10
        assert abs((first.mirrored == other.mirrored).mean() - 0.5) < 0.07
        assert abs(np.corrcoef(first.colors[:, 0], other.colors[:, 0])[0, 1]) < 0.13


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), st.integers(1, 12), st.integers(0, 6), st.booleans(), st.sampled_from(STORES))
def test_crop_is_the_window_pixel_by_pixel(
    data: st.DataObject, size: int, border: int, mirrored: bool, store: Store
) -> None:
    top, left = (data.draw(st.integers(0, border)) for _ in range(2))
    pixels = noise_pixels(size + border)
    window = cut(pixels, top, left, size, mirrored, store)
    assert window.shape == (size, size, 3)
    row, column = (data.draw(st.integers(0, size - 1)) for _ in range(2))
    across = size - 1 - column if mirrored else column
    np.testing.assert_array_equal(window[row, column], pixels[top + row, left + across])


# --- colour noise ----------------------------------------------------------------------------


def test_components_of_imagenet() -> None:
    """The authors' constants: orthonormal, and the largest is brightness."""
    vectors, deviations = IMAGENET_COMPONENTS.vectors, IMAGENET_COMPONENTS.deviations
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(deviations**2, [388.911, 1375.957, 14830.383], rtol=1e-6)
    largest = vectors[:, deviations.argmax()]
    assert abs(largest.sum()) / np.sqrt(3) > 0.999
    in_unit_pixels = np.sort(deviations**2 / 255**2)[::-1]
    np.testing.assert_allclose(in_unit_pixels, [0.228072, 0.021160, 0.005981], rtol=1e-4)
    # The ports' constants are the same analysis of another subset.
    np.testing.assert_allclose(in_unit_pixels, PORTS_EIGENVALUES, rtol=0.35)
    agreement = np.abs(vectors[:, ::-1].T @ PORTS_VECTORS)
    np.testing.assert_allclose(np.diag(agreement), 1.0, atol=0.01)


def test_noise_of_one_component_lies_along_it() -> None:
    """Rows and columns not swapped, channels in the order R, G, B, magnitudes by hand."""
    largest = np.array([[0.0, 0.0, 1.0]])
    found = color_shifts("original", 0.1, largest, IMAGENET_COMPONENTS)
    np.testing.assert_allclose(found, [[-6.8624, -7.0167, -7.2094]], atol=1e-4)  # 12.178 p3
    found = color_shifts("paper", 0.1, largest, IMAGENET_COMPONENTS)
    np.testing.assert_allclose(found, [[-3.2773, -3.3510, -3.4430]], atol=1e-4)  # 5.8158 p3
    smallest = np.array([[2.0, 0.0, 0.0]])
    found = color_shifts("original", 0.1, smallest, IMAGENET_COMPONENTS)
    np.testing.assert_allclose(found, [[1.6485, -3.2223, 1.5671]], atol=1e-4)


@pytest.mark.parametrize(("convention", "channels"), [
    ("original", (7.4, 7.2, 7.7)),  # grey levels, before the division by 1.1
    ("paper", (3.3, 3.4, 3.5)),
])  # fmt: skip
def test_covariance_of_the_noise(convention: str, channels: tuple[float, ...]) -> None:
    """Over 1e5 draws: 0.01 V diag(s^2) V^T, s the deviations or the eigenvalues x 255."""
    config = AugmentConfig(color=convention)  # type: ignore[arg-type]
    colors = draw(config, 0, 0, np.arange(100_000), 32).colors
    shifts = color_shifts(convention, 0.1, colors, IMAGENET_COMPONENTS)
    assert shifts.shape == (100_000, 3)
    deviations = IMAGENET_COMPONENTS.deviations
    scales = deviations if convention == "original" else deviations**2 / 255
    expected = np.zeros((3, 3))
    for vector, scale in zip(IMAGENET_COMPONENTS.vectors.T, scales, strict=True):
        expected += 0.01 * scale**2 * np.outer(vector, vector)
    found = shifts.T @ shifts / len(shifts)
    np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(2 / 1e5) * expected.max())
    np.testing.assert_allclose(np.sqrt(np.diag(found)), channels, atol=0.07)
    np.testing.assert_allclose(shifts.mean(0), 0.0, atol=4 * 7.7 / np.sqrt(1e5))
    # Along each component by itself, so that the small ones are tested too.
    along = (shifts @ IMAGENET_COMPONENTS.vectors).std(0)
    np.testing.assert_allclose(along, 0.1 * scales, rtol=0.01)


def test_convention_paper_with_the_ports_constants_is_what_the_ports_do() -> None:
    """Sum of eigenvector * alpha * eigenvalue, added to [0, 1] images: 3.2, 3.2, 3.3 levels."""
    components = Components(PORTS_VECTORS, np.sqrt(PORTS_EIGENVALUES) * 255)
    z = np.random.default_rng(0).normal(size=(20_000, 3))
    expected = 255 * (0.1 * z * PORTS_EIGENVALUES) @ PORTS_VECTORS.T
    np.testing.assert_allclose(color_shifts("paper", 0.1, z, components), expected, rtol=1e-9)
    np.testing.assert_allclose(expected.std(0), [3.2, 3.2, 3.3], atol=0.08)


def test_strength_scales_the_noise() -> None:
    z = np.random.default_rng(0).normal(size=(10, 3))
    for convention in ("original", "paper"):
        weak, strong = (color_shifts(convention, s, z, IMAGENET_COMPONENTS) for s in (0.1, 0.3))
        np.testing.assert_allclose(strong, 3 * weak, rtol=1e-9)
        assert not color_shifts(convention, 0.0, z, IMAGENET_COMPONENTS).any()


def test_only_the_authors_divide_the_image_and_only_while_there_is_noise() -> None:
    config = AugmentConfig(color="original", color_strength=0.25, color_epochs=3)
    assert [color_divisor(config, epoch) for epoch in range(5)] == [1.25, 1.25, 1.25, 1.0, 1.0]
    assert [has_color_noise(config, epoch) for epoch in range(5)] == [True] * 3 + [False] * 2
    for kind in ("paper", "none"):
        other = replace(config, color=kind)
        assert color_divisor(other, 0) == 1.0
    always = replace(config, color_epochs=None)
    assert has_color_noise(always, 10_000)
    assert not has_color_noise(replace(always, color="none"), 0)
    assert not has_color_noise(replace(config, color_epochs=0), 0)


# --- views -----------------------------------------------------------------------------------


def test_ten_views_are_the_corners_and_the_centre_and_their_mirrors() -> None:
    """Explicit slices, in the order of the authors' __trim_borders."""
    pixels = noise_pixels(256)
    slices = [
        pixels[0:224, 0:224],
        pixels[0:224, 32:256],
        pixels[16:240, 16:240],
        pixels[32:256, 0:224],
        pixels[32:256, 32:256],
    ]
    expected = slices + [view[:, ::-1] for view in slices]
    views = ten_views(256, 224)
    assert len(views) == 10
    for (top, left, mirrored), view in zip(views, expected, strict=True):
        np.testing.assert_array_equal(cut(pixels, top, left, 224, mirrored, HostPixels), view)


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 300), st.integers(0, 100))
def test_views_lie_inside_the_image(crop_size: int, border: int) -> None:
    size = crop_size + border
    views = ten_views(size, crop_size)
    assert len(views) == 10
    for top, left, _ in views:
        assert 0 <= top <= border
        assert 0 <= left <= border
    assert {(0, 0), (0, border), (border, 0), (border, border)} <= {view[:2] for view in views}
    assert [mirrored for _, _, mirrored in views] == [False] * 5 + [True] * 5
    assert center_view(size, crop_size) == [views[2]]
    top, left, _ = views[2]
    assert top == left == border // 2


def test_nine_views_are_the_grid_of_the_cifar_nets() -> None:
    """24x24 crops of 32x32: offsets 0, 4 and 8 both ways, none mirrored."""
    assert nine_views(32, 24) == [(y, x, False) for y in (0, 4, 8) for x in (0, 4, 8)]
