"""A data set: its files, its classes and its labels, and what others see in its pictures."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from alexnet.data.sources import Source, Split, open_source
from alexnet.doctor.leaks import leaks, scenes
from alexnet.doctor.mends import anew_or_out
from alexnet.doctor.pictures import (
    DOMINATES,
    MANY_BAD,
    corrupted,
    grayscale,
    low_contrast,
    rotated,
    tiny,
)
from alexnet.doctor.report import Diagnosis
from alexnet.doctor.sample import Sample, digests_of, is_picture, take_sample
from alexnet.errors import UserError
from alexnet.files import at_home
from alexnet.findings import Finding
from alexnet.training.checks import shares

TRAIN_LIMIT = 5_000  # images of the training split that are opened
VALIDATION_LIMIT = 2_000
_UNEVEN = 100.0  # largest class over smallest; ILSVRC has 1.8
_FEW = 5  # training images in a class
_STANDARD_ERRORS = 3.0  # by which neighbours must agree on the class more often than by chance
_ENOUGH_LABELS = 200
_NETWORK_SIDE = 224  # pixels that most of the networks see


def examine_data(data: str, validation_fraction: float = 0.2) -> Diagnosis:
    """Look at a data set; of a large one at an even sample, though files are compared to the last.

    Args:
        data: what `alexnet train` takes.
        validation_fraction: of a source without a validation split of its own.

    What keeps a data set from being opened is the one finding about it.

    Raises:
        UserError: nothing is there.
    """
    try:
        source = open_source(data, validation_fraction=validation_fraction)
    except UserError as error:
        if not at_home(data).exists():
            raise
        return Diagnosis(f"data set {data}", {}, [_not_opened(error)])
    train = take_sample(source.train, TRAIN_LIMIT, "looking at training images")
    validation = take_sample(source.validation, VALIDATION_LIMIT, "looking at validation images")
    return Diagnosis(
        f"data set {source.name}",
        data_facts(source, train, validation),
        judge_data(source, train, validation),
    )


def _not_opened(error: UserError) -> Finding:
    """What is wrong; how to mend it, as such errors are worded."""
    cause, _, mend = str(error).partition("; ")
    return Finding("cannot-be-opened", "error", cause, mend or "mend it, then ask again")


def data_facts(
    source: Source, train: Sample, validation: Sample, side: int = _NETWORK_SIDE
) -> dict[str, Any]:
    """What was seen, without judgement.

    Args:
        source: the data set.
        train, validation: what was looked at.
        side: pixels that the network sees; smaller images are enlarged for it.
    """
    counts = np.bincount(source.train.labels, minlength=len(source.classes))
    sides = np.concatenate([train.shorter_sides, validation.shorter_sides])
    agreement, by_chance = train.label_agreement
    return {
        "classes": len(source.classes),
        "training_images": len(source.train),
        "validation_images": len(source.validation),
        "images_per_class": [int(counts.min()), int(counts.max())],
        "looked_at": _looked_at(source, train, validation),
        "unreadable": len(_unreadable_of(source, train, validation)),
        **({"notes": list(source.notes)} if source.notes else {}),
        "grayscale_share": float(grayscale(train).mean()) if len(train) else 0.0,
        "shorter_side": [int(sides.min()), int(np.median(sides)), int(sides.max())]
        if len(sides)
        else [],
        "smaller_than_network_share": float((sides < side).mean()) if len(sides) else 0.0,
        "label_agreement_of_neighbours": agreement,
        "label_agreement_by_chance": by_chance,
    }


def judge_data(source: Source, train: Sample, validation: Sample) -> list[Finding]:
    """Everything that is wrong with a data set, from its labels and a sample of its images."""
    unreadable = _unreadable_of(source, train, validation)
    # Pictures without contrast are not told from noise.
    contrast = low_contrast(train)
    alike = scenes(train)
    contents = digests_of(source.train, train, "comparing training images")
    return [
        *_left_out(source),
        *_unreadable(source, unreadable, _looked_at(source, train, validation)),
        *(contrast or corrupted(source, train, validation)),
        *leaks(source, contents, train, validation, by_looks=not alike),
        *alike,
        *_balance(source),
        *_contradictions(source.train, contents),
        *tiny(source, train),
        *rotated(train, validation),
        *_labels(train),
    ]


def _unreadable_of(source: Source, train: Sample, validation: Sample) -> list[tuple[str, str]]:
    """(name, reason) of images that cannot be opened, and of those that are no files at all."""
    return [*source.unusable, *train.unreadable, *validation.unreadable]


def _looked_at(source: Source, train: Sample, validation: Sample) -> int:
    return len(source.unusable) + train.looked_at + validation.looked_at


def _left_out(source: Source) -> list[Finding]:
    """Images that lie there but are not among those that are looked at."""
    if not source.left_out:
        return []
    count = sum(part.count for part in source.left_out)
    in_splits = len(source.train) + len(source.validation) + len(source.test or ())
    total = count + len(source.unusable) + in_splits
    seen = ", ".join(f"{part.count} {part.what}" for part in source.left_out)
    return [
        Finding(
            "left-out-images",
            "error" if count >= MANY_BAD * total else "warning",
            f"{count} of {total} images are in no split: {seen}",
            " and ".join(dict.fromkeys(part.mend for part in source.left_out)),
        )
    ]


def _unreadable(source: Source, unreadable: list[tuple[str, str]], looked_at: int) -> list[Finding]:
    if not unreadable:
        return []
    share = len(unreadable) / looked_at
    reasons = Counter(reason for _, reason in unreadable).most_common(1)[0]
    return [
        Finding(
            "unreadable-images",
            "error" if share >= MANY_BAD else "warning",
            f"{len(unreadable)} of {looked_at} images cannot be read and are left out (most often: "
            f"{reasons[0]}), the first {unreadable[0][0]}",
            anew_or_out(source, "download or copy them anew"),
        )
    ]


def _balance(source: Source) -> list[Finding]:
    share = shares(source.train.labels, len(source.classes))
    counts = np.bincount(source.train.labels, minlength=len(source.classes))
    largest, smallest = int(counts.argmax()), int(counts.argmin())
    if share[largest] >= DOMINATES:
        return [
            Finding(
                "one-class-dominates",
                "error",
                f"{share[largest]:.0%} of the training images are of class "
                f"{source.classes[largest]!r}; always answering it is wrong on "
                f"{1 - share[largest]:.1%} only, so the error says little",
                "collect images of the other classes, or leave most of this class out",
            )
        ]
    findings = []
    if counts[largest] > _UNEVEN * max(1, counts[smallest]):
        findings.append(
            Finding(
                "uneven-classes",
                "warning",
                f"class {source.classes[largest]!r} has {counts[largest]} training images, "
                f"{source.classes[smallest]!r} {counts[smallest]}",
                "collect more of the small classes, or judge by the error of each class",
            )
        )
    few = [source.classes[i] for i in np.flatnonzero(counts < _FEW)]
    if few:
        findings.append(
            Finding(
                "few-images",
                "warning",
                f"{len(few)} of {len(source.classes)} classes have fewer than {_FEW} training "
                f"images, such as {few[0]!r}",
                "add images, or fine-tune a trained network: alexnet train DATA --init RUN",
            )
        )
    return findings


def _contradictions(train: Split, contents: Sequence[bytes]) -> list[Finding]:
    """The same file under two classes."""
    label_of: dict[bytes, int] = {}
    contradicting = [
        index
        for index, (digest, label) in enumerate(zip(contents, train.labels.tolist(), strict=True))
        if digest and label_of.setdefault(digest, label) != label and is_picture(train, index)
    ]
    if not contradicting:
        return []
    return [
        Finding(
            "contradicting-labels",
            "error" if len(contradicting) >= MANY_BAD * len(train) else "warning",
            f"{len(contradicting)} training images are there under another class as well, such as "
            f"{train.keys[contradicting[0]]}",
            "decide for one class each",
        )
    ]


def _labels(train: Sample) -> list[Finding]:
    """Whether images that look alike agree on their class no more often than by chance."""
    if len(train) < _ENOUGH_LABELS:
        return []
    agreement, by_chance = train.label_agreement
    error = (by_chance * (1.0 - by_chance) / len(train)) ** 0.5
    if agreement >= by_chance + _STANDARD_ERRORS * error:
        return []
    return [
        Finding(
            "labels-say-nothing",
            "note",
            f"the two images most alike are of one class in {agreement:.1%} of the cases, by "
            f"chance in {by_chance:.1%}: the classes do not show at a glance, or the labels have "
            "nothing to do with the images",
            "look at some images of each class; if they fit, train, and ask about the run",
        )
    ]
