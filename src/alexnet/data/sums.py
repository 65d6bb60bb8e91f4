"""Sums over training images, in integers: the same whatever order they are added in."""

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alexnet.data.statistics import Components, Statistics
from alexnet.native.build import library

Integers = npt.NDArray[np.int64]

# Products of pixels less 128, at most 2^14, stay exact in float32 while 2^10 of them are added.
_CENTER = 128
_TERMS = 1024


@dataclass(frozen=True)
class Sums:
    """What mean image and colour components are computed from."""

    count: int  # images
    pixels: Integers  # (S, S, 3): the sum of the images
    products: Integers  # (3, 3): the sum over all pixels of color × color

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.count + other.count, self.pixels + other.pixels, self.products + other.products
        )

    def statistics(self) -> Statistics:
        """Of all images so far, at least one."""
        side = len(self.pixels)
        pixels = self.count * side * side
        mean_color = self.pixels.sum(axis=(0, 1)) / pixels
        covariance = self.products / pixels - np.outer(mean_color, mean_color)
        # 2012 (D6): those of ImageNet, whatever the images (`augment.IMAGENET_COMPONENTS`).
        eigenvalues, vectors = np.linalg.eigh(covariance)
        return Statistics(
            mean_image=self.pixels / self.count,
            components=Components(vectors, np.sqrt(np.maximum(eigenvalues, 0.0))),
        )


def no_sums(size: int) -> Sums:
    """The sums over no image of (size, size, 3)."""
    return Sums(0, np.zeros((size, size, 3), np.int64), np.zeros((3, 3), np.int64))


def sum_images(images: Iterable[npt.NDArray[np.uint8]], size: int) -> Sums:
    """The sums over some (size, size, 3) images, at most 2^24 of them."""
    if (loops := library("sums")) is not None:
        return _compiled_sums(loops, images, size)
    count, centered = 0, np.zeros((3, 3), np.int64)
    total = np.zeros((size, size, 3), np.uint32)
    for image in images:
        count += 1
        np.add(total, image, out=total)
        centered += _centered_products(image.reshape(-1))
    pixels = total.astype(np.int64)
    colors = pixels.sum(axis=(0, 1))
    # Σ ab = Σ (a-c)(b-c) + c Σ a + c Σ b - n c²
    shift = _CENTER * (colors[:, None] + colors) - count * size * size * _CENTER**2
    return Sums(count, pixels, centered + shift)


def _compiled_sums(loops: ctypes.CDLL, images: Iterable[npt.NDArray[np.uint8]], size: int) -> Sums:
    """As `sum_images`, in a quarter of its time."""
    count, total, products = 0, np.zeros((size, size, 3), np.uint32), np.zeros((3, 3), np.int64)
    for image in images:
        count += 1
        pixels = np.ascontiguousarray(image)
        loops.add_image(
            ctypes.c_void_p(pixels.ctypes.data),
            ctypes.c_long(pixels.size),
            ctypes.c_void_p(total.ctypes.data),
            ctypes.c_void_p(products.ctypes.data),
        )
    return Sums(count, total.astype(np.int64), products)


def _centered_products(values: npt.NDArray[np.uint8]) -> Integers:
    """The sum over the pixels of (color - 128) × (color - 128), (3, 3).

    Matrix products of float32 are the fastest sums there are, if their sides are not as short as
    3: so eight pixels make a row of 24 values, and the 3x3 blocks on the diagonal are wanted.
    """
    whole = len(values) - len(values) % (_TERMS * 24)
    blocks = np.subtract(values[:whole].reshape(-1, _TERMS, 24), _CENTER, dtype=np.float32)
    gram = np.matmul(blocks.transpose(0, 2, 1), blocks).sum(axis=0, dtype=np.float64)
    diagonal = gram.reshape(8, 3, 8, 3)[range(8), :, range(8), :].sum(axis=0)
    rest = values[whole:].reshape(-1, 3).astype(np.int64) - _CENTER
    return np.asarray(diagonal.astype(np.int64) + rest.T @ rest)
