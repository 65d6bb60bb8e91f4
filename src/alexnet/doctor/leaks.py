"""Images that are there twice: on both sides of the split, or many of one scene."""

from collections.abc import Sequence

import numpy as np

from alexnet.data.sources import Source
from alexnet.doctor.mends import out_of_one_side
from alexnet.doctor.sample import Sample, digests_of, features, is_picture, resembled
from alexnet.findings import Finding

_SAME_PICTURE = 1.5  # rms grey levels between thumbnails of one picture stored twice
_SCENE = 0.2  # of the training images resemble others: not one picture twice, but of one scene
_CONTRAST = 8.0  # grey levels; flatter thumbnails resemble each other without being the same


def leaks(
    source: Source, contents: Sequence[bytes], train: Sample, validation: Sample, by_looks: bool
) -> list[Finding]:
    """Validation images that are training images as well, all by bytes, the samples by looks."""
    if not len(train) or not len(validation):
        return []
    keys, known = source.validation.keys, set(contents) - {b""}
    digests = digests_of(source.validation, validation, "comparing validation images")
    exact = {
        keys[i]
        for i, digest in enumerate(digests)
        if digest in known and is_picture(source.validation, i)
    }
    leaked = exact | (_resembling(validation, train) if by_looks else set())
    if not leaked:
        return []
    # By looks only samples are compared; the share among them stands for all.
    partly = train.looked_at < train.total or validation.looked_at < validation.total
    in_sample = len(leaked.intersection(validation.keys)) / len(validation)
    share = max(len(leaked) / len(keys), in_sample)
    first = next(key for key in keys if key in leaked)
    return [
        Finding(
            "validation-leaks",
            "error" if share >= 0.01 else "warning",
            f"{'at least ' if partly else ''}{len(leaked)} of {len(keys)} validation images "
            f"({'likely ' if partly else ''}{share:.1%}) are training images as well "
            f"({len(exact)} byte for byte), the first {first}; the error is too good to be true",
            out_of_one_side(source, first, bool(exact)),
        )
    ]


def _resembling(some: Sample, others: Sample) -> set[str]:
    """The keys of images that look like one of the others; without contrast they would like any."""
    looks = features(some)
    known = 1 if some is others else 0  # itself
    alike = resembled(looks, features(others), _SAME_PICTURE) > known
    return {some.keys[int(i)] for i in np.flatnonzero(alike & (looks.std(1) > _CONTRAST))}


def scenes(train: Sample) -> list[Finding]:
    """Training images that look like each other."""
    share = len(_resembling(train, train)) / max(1, len(train))
    if share < _SCENE:
        return []
    return [
        Finding(
            "alike-images",
            "note",
            f"{share:.0%} of the training images look like another one, as pictures of a scene "
            "that stays or frames of a film do, so that their looks do not tell which validation "
            "images are there twice",
            "keep each film and each thing that was taken several times on one side",
        )
    ]
