"""A data set seen small: thumbnails, sizes and contents of a sample of its images."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image

from alexnet.data.images import BadImage, decode
from alexnet.data.sources import Split
from alexnet.data.squaring import square
from alexnet.data.threads import mapped
from alexnet.progress import Meter
from alexnet.training.checks import shares

SIDE = 32  # pixels of a thumbnail
_TOGETHER = 256  # queries; more would only take memory
_ORIENTATION = 0x0112  # the tag in EXIF
_TURNED = range(2, 9)  # what it may be; 1 is upright


@dataclass(frozen=True)
class Sample:
    """Some images of a split; those that cannot be read are only named.

    Attributes:
        labels: (n,) of the readable ones.
        keys: their names.
        thumbnails: (n, 32, 32, 3) uint8 RGB.
        shorter_sides: (n,) pixels of the files themselves.
        digests: of their bytes.
        rotated: (n,) bool, whether their EXIF asks for them to be turned before they are shown.
        unreadable: (name, reason) of the others.
        total: images of the whole split.
    """

    labels: npt.NDArray[np.int64]
    keys: Sequence[str]
    thumbnails: npt.NDArray[np.uint8]
    shorter_sides: npt.NDArray[np.int64]
    digests: Sequence[bytes]
    rotated: npt.NDArray[np.bool_]
    unreadable: list[tuple[str, str]]
    total: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def looked_at(self) -> int:
        """How many images were opened."""
        return len(self.labels) + len(self.unreadable)

    @cached_property
    def label_agreement(self) -> tuple[float, float]:
        """How often an image and the one most like it have the same class, and how often by chance.

        The first is the second where no image has another that it could be compared with.
        """
        share = shares(self.labels, int(self.labels.max(initial=0)) + 1)
        by_chance = float((share**2).sum())
        looks = features(self)
        index, distance = nearest(looks, looks, same=True)
        different = distance > 1e-3  # the same file twice says nothing
        if not different.any():
            return by_chance, by_chance
        return float((self.labels[index] == self.labels)[different].mean()), by_chance


def take_sample(split: Split, limit: int, title: str) -> Sample:
    """Open at most `limit` images, spread evenly over the split."""
    spread = np.linspace(0, max(0, len(split) - 1), min(limit, len(split)))
    chosen: list[int] = np.unique(spread.astype(int)).tolist()
    rows: list[tuple[int, npt.NDArray[np.uint8], int, bytes, bool]] = []
    unreadable: list[tuple[str, str]] = []
    looks = mapped(lambda index: _look(split, index), chosen)
    with Meter(title, len(chosen)) as meter:
        for index, outcome in zip(chosen, looks, strict=True):
            if isinstance(outcome, str):
                unreadable.append((split.keys[index], outcome))
            else:
                rows.append((index, *outcome))
            meter.advance()
    kept = [row[0] for row in rows]
    return Sample(
        labels=split.labels[kept] if kept else np.empty(0, dtype=np.int64),
        keys=[split.keys[index] for index in kept],
        thumbnails=np.stack([row[1] for row in rows])
        if rows
        else np.empty((0, SIDE, SIDE, 3), dtype=np.uint8),
        shorter_sides=np.array([row[2] for row in rows], dtype=np.int64),
        digests=[row[3] for row in rows],
        rotated=np.array([row[4] for row in rows], dtype=np.bool_),
        unreadable=unreadable,
        total=len(split),
    )


def digests_of(split: Split, sample: Sample, title: str) -> list[bytes]:
    """(N) digest of the bytes of every image; empty for one that is known to be unreadable.

    Args:
        split: all images, read to the last, which takes as long as the disk.
        sample: of them, whose digests are known.
        title: what to call this.
    """
    known = {key: b"" for key, _ in sample.unreadable}
    known |= dict(zip(sample.keys, sample.digests, strict=True))
    rest = [index for index, key in enumerate(split.keys) if key not in known]
    found = mapped(lambda index: _digest(split, index), rest)
    with Meter(title, len(rest)) as meter:
        for index, digest in zip(rest, found, strict=True):
            known[split.keys[index]] = digest
            meter.advance()
    return [known[key] for key in split.keys]


def is_picture(split: Split, index: int) -> bool:
    """Whether an image can be decoded."""
    return not isinstance(_look(split, index), str)


def _digest(split: Split, index: int) -> bytes:
    try:
        return hashlib.sha256(split.read(index)).digest()
    except (BadImage, OSError):
        return b""


def _look(split: Split, index: int) -> tuple[npt.NDArray[np.uint8], int, bytes, bool] | str:
    try:
        encoded = split.read(index)
        image = decode(encoded)
    except BadImage as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
    digest = hashlib.sha256(encoded).digest()
    return square(image, SIDE), min(image.size), digest, _is_rotated(image)


def _is_rotated(image: Image.Image) -> bool:
    try:
        return image.getexif().get(_ORIENTATION, 1) in _TURNED
    except Exception:  # as images.py knows, there is no telling what hostile bytes raise
        return False


def features(sample: Sample) -> npt.NDArray[np.float32]:
    """(n, 768) what images look like, for comparing them: 16 x 16 x 3, in grey levels."""
    blocks = sample.thumbnails.reshape(len(sample), SIDE // 2, 2, SIDE // 2, 2, 3)
    small: npt.NDArray[np.float32] = blocks.mean(axis=(2, 4), dtype=np.float32)
    return small.reshape(len(sample), -1)


def resembled(
    queries: npt.NDArray[np.float32], known: npt.NDArray[np.float32], distance: float
) -> npt.NDArray[np.int64]:
    """(q,) how many known rows lie within an rms difference, in grey levels, of each query."""
    lengths = (known**2).mean(1)
    counts = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(queries), _TOGETHER):
        block = queries[start : start + _TOGETHER]
        products = block @ known.T / known.shape[1]
        squared = (block**2).mean(1)[:, None] + lengths[None, :] - 2.0 * products
        counts.append((squared < distance**2).sum(1))
    return np.concatenate(counts)


def nearest(
    queries: npt.NDArray[np.float32], known: npt.NDArray[np.float32], same: bool = False
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The nearest known row of each query: (q,) index and (q,) rms difference in grey levels.

    Args:
        queries: (q, d).
        known: (k, d).
        same: queries and known are the same rows; then a row is not its own neighbour.
    """
    indices, distances = [], []
    lengths = (known**2).sum(1)
    for start in range(0, len(queries), _TOGETHER):
        block = queries[start : start + _TOGETHER]
        squared = (block**2).sum(1)[:, None] + lengths[None, :] - 2.0 * block @ known.T
        if same:
            rows = np.arange(len(block))
            squared[rows, start + rows] = np.inf
        best = squared.argmin(1)
        # The expansion above loses digits where rows are alike: the winner is measured again.
        exact = ((block - known[best]) ** 2).mean(1)
        indices.append(best)
        distances.append(np.sqrt(exact))
    if not indices:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    return np.concatenate(indices), np.concatenate(distances).astype(np.float32)
