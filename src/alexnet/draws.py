"""Randomness as a pure function of (seed, purpose, moment, sample).

No generator state exists, so none has to be saved, shared or advanced: the order of an epoch, a
crop, a mirror image, colour noise and a dropout mask are the same for any number of workers or
processes and after any interruption.

The function is Philox 4x32-10, the counter-based generator of Salmon et al., "Parallel random
numbers: as easy as 1, 2, 3" (SC 2011). It is written on plain integer operators so that the same
lines serve NumPy arrays and torch tensors (both int64, wrapping on overflow).
"""

import enum
from typing import Any

import numpy as np
import numpy.typing as npt

_WORD = 0xFFFFFFFF
_ROUND_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


class Purpose(enum.IntEnum):
    """What a draw is for; different purposes never share a stream. Values are fixed for ever."""

    ORDER = 1
    CROP = 2
    MIRROR = 3
    COLOR = 4
    DROPOUT = 5
    WEIGHTS = 6
    SEARCH = 7


def philox(counter: tuple[Any, Any, Any, Any], key: tuple[Any, Any]) -> tuple[Any, Any, Any, Any]:
    """Philox 4x32-10: four random 32-bit words from a 128-bit counter and a 64-bit key.

    Every word is an int64 array or tensor (or int) with values in [0, 2^32); shapes broadcast.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(_ROUND_MULTIPLIERS[0], c0)
        high1, low1 = _multiply(_ROUND_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 = (k0 + _KEY_INCREMENTS[0]) & _WORD
        k1 = (k1 + _KEY_INCREMENTS[1]) & _WORD
    return c0, c1, c2, c3


def _multiply(a: int, b: Any) -> tuple[Any, Any]:
    """High and low 32-bit words of the 64-bit product of two 32-bit words.

    The product is formed from 16-bit halves, so no intermediate leaves the signed 64-bit range.
    """
    low = a * (b & 0xFFFF)
    high = a * (b >> 16) + (low >> 16)
    return high >> 16, ((high & 0xFFFF) << 16) | (low & 0xFFFF)


def words(
    seed: int,
    purpose: Purpose,
    moment: int,
    samples: npt.NDArray[np.int64],
    count: int,
) -> npt.NDArray[np.int64]:
    """Random 32-bit words for each sample.

    Args:
        seed: the run's seed, 0 <= seed < 2^32.
        purpose: what the words are for.
        moment: epoch or step, 0 <= moment < 2^32.
        samples: (N,) indices of the samples, each 0 <= index < 2^32.
        count: words per sample.

    Returns:
        (N, count) int64 with values in [0, 2^32).
    """
    blocks = np.arange(-(-count // 4), dtype=np.int64)[None, :]  # (1, B)
    samples = np.asarray(samples, dtype=np.int64)[:, None]  # (N, 1)
    zero = np.zeros_like(samples + blocks)
    drawn = philox((samples + zero, zero + moment, blocks + zero, zero), (seed, int(purpose)))
    return np.stack(drawn, axis=-1).reshape(len(samples), 4 * blocks.size)[:, :count]


def uniforms(
    seed: int, purpose: Purpose, moment: int, samples: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.float64]:
    """(N, count) draws from the open interval (0, 1); arguments as for `words`."""
    drawn = words(seed, purpose, moment, samples, count)
    return (drawn.astype(np.float64) + 0.5) / 2.0**32


def normals(
    seed: int, purpose: Purpose, moment: int, samples: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.float64]:
    """(N, count) draws from N(0, 1) by the Box-Muller transform; arguments as for `words`."""
    pairs = uniforms(seed, purpose, moment, samples, 2 * count)
    radius = np.sqrt(-2.0 * np.log(pairs[:, 0::2]))
    return np.asarray(radius * np.cos(2.0 * np.pi * pairs[:, 1::2]), dtype=np.float64)


def permutation(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """The order of `count` samples in an epoch: a uniformly random permutation, (count,) int64."""
    # 2012 (D3): batches in the order of the files, never another one.
    pair = words(seed, Purpose.ORDER, epoch, np.arange(count), 2)
    # 63 random bits a sample; the stable sort breaks the (about 1e-7 likely) ties by index.
    return np.argsort((pair[:, 0] << 31) | (pair[:, 1] >> 1), kind="stable")


def sample_keys(seed: int, step: int, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Dropout keys, (N, 2) int64: one Philox key for each position of the global batch."""
    return words(seed, Purpose.DROPOUT, step, positions, 2)
