"""A data set: classes, counts, leaks, unreadable and corrupted images, labels that say nothing."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet.data.folders import HELD_OUT
from alexnet.data.sources import Source, Split, open_source
from alexnet.doctor.report import Diagnosis
from alexnet.doctor.sample import (
    Sample,
    digests_of,
    features,
    is_picture,
    resembled,
    take_sample,
)
from alexnet.errors import UserError
from alexnet.files import at_home
from alexnet.findings import Finding, Severity
from alexnet.training.checks import shares

TRAIN_LIMIT = 5_000  # images of the training split that are opened
VALIDATION_LIMIT = 2_000
_DOMINATES = 0.9  # of all training images in one class
_UNEVEN = 100.0  # largest class over smallest; ILSVRC has 1.8
_FEW = 5  # training images in a class
_MANY_BAD = 0.05  # of the images unreadable or corrupted: the set is damaged, not a few files
_SAME_PICTURE = 1.5  # rms grey levels between thumbnails of one picture stored twice
_SCENE = 0.2  # of the training images resemble others: not one picture twice, but of one scene
_CONTRAST = 8.0  # grey levels; flatter thumbnails resemble each other without being the same
_FLAT = 1.0  # grey levels; such an image shows nothing
# Correlation of neighbouring pixels of a thumbnail: photographs 0.9, drawings 0.6, noise 0.0.
_NOISE = 0.15
_STANDARD_ERRORS = 3.0  # by which neighbours must agree on the class more often than by chance
_ENOUGH_LABELS = 200
_LOW_CONTRAST = 6.0  # grey levels about the mean image; photographs 60, digits 70
_LOW_RANGE = 40.0  # grey levels between the darkest and the brightest; a scene that stays has more
_MANY_ROTATED = 0.05  # of the images; of a few the network sees enough upright
_TINY = 0.25  # of the median shorter side
_NETWORK_SIDE = 224  # pixels that most of the networks see
_PREPARE_ANEW = "mend the source and prepare it anew"


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
        "grayscale_share": float(_grayscale(train).mean()) if len(train) else 0.0,
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
    contrast = _contrast(train)
    scenes = _scenes(train)
    contents = digests_of(source.train, train, "comparing training images")
    return [
        *_left_out(source),
        *_unreadable(source, unreadable, _looked_at(source, train, validation)),
        *(contrast or _corrupted(source, train, validation)),
        *_leaks(source, contents, train, validation, by_looks=not scenes),
        *scenes,
        *_balance(source),
        *_contradictions(source.train, contents),
        *_sizes(source, train),
        *_rotated(train, validation),
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
            "error" if count >= _MANY_BAD * total else "warning",
            f"{count} of {total} images are in no split: {seen}",
            " and ".join(dict.fromkeys(part.mend for part in source.left_out)),
        )
    ]


def _anew_or_out(source: Source, anew: str) -> str:
    """The mend for images that are bad: get them `anew`, or leave them out of such a source."""
    if _is_prepared(source):
        return _PREPARE_ANEW
    leave_out = {"csv": "take their lines out of the list", "parquet": "leave their rows out"}
    return f"{anew}, or {leave_out.get(source.kind, 'delete them')}"


def _is_prepared(source: Source) -> bool:
    """Whether the images lie in shards, of which none can be taken out, whatever the kind."""
    return source.statistics is not None


def _unreadable(source: Source, unreadable: list[tuple[str, str]], looked_at: int) -> list[Finding]:
    if not unreadable:
        return []
    share = len(unreadable) / looked_at
    reasons = Counter(reason for _, reason in unreadable).most_common(1)[0]
    return [
        Finding(
            "unreadable-images",
            "error" if share >= _MANY_BAD else "warning",
            f"{len(unreadable)} of {looked_at} images cannot be read and are left out (most often: "
            f"{reasons[0]}), the first {unreadable[0][0]}",
            _anew_or_out(source, "download or copy them anew"),
        )
    ]


def _corrupted(source: Source, train: Sample, validation: Sample) -> list[Finding]:
    """Images that decode, but show nothing, noise, or the grey of a broken download."""
    keys = [*train.keys, *validation.keys]
    kinds = [*corruption(train.thumbnails), *corruption(validation.thumbnails)]
    bad = [(key, kind) for key, kind in zip(keys, kinds, strict=True) if kind]
    if not bad or len(bad) < max(2, 0.005 * len(keys)):
        return []
    seen = ", ".join(f"{count} {kind}" for kind, count in Counter(kinds).most_common() if kind)
    cause = f"{len(bad)} of {len(keys)} images show no picture ({seen}), the first {bad[0][0]}"
    mend = _anew_or_out(source, "download or convert them anew")
    severity: Severity = "error" if len(bad) >= _MANY_BAD * len(keys) else "warning"
    blank = _blank_class(np.concatenate([train.labels, validation.labels]), kinds)
    if blank is not None:
        name = source.classes[blank]
        cause += f", nearly all of them of class {name!r}, as one of empty pictures"
        severity, mend = "note", f"unless that is what the class means, {mend}"
    return [Finding("corrupted-images", severity, cause, mend)]


def _blank_class(labels: npt.NDArray[np.int64], kinds: Sequence[str]) -> int | None:
    """The class that is meant to show nothing: most of it does, and hardly any other image."""
    bad = np.array([bool(kind) for kind in kinds])
    counts = np.bincount(labels[bad])
    label = int(counts.argmax())
    is_blank = counts[label] >= max(_DOMINATES * bad.sum(), (labels == label).sum() / 2)
    return label if is_blank else None


def corruption(thumbnails: npt.NDArray[np.uint8]) -> list[str]:
    """For each (32, 32, 3) thumbnail "flat", "noise", "cut off", or "" for a picture."""
    grey = thumbnails.mean(axis=3, dtype=np.float32)  # (n, 32, 32)
    kinds = []
    for image in grey:
        lower = image[-8:]
        if image.std() < _FLAT:
            kinds.append("flat")
        elif np.abs(lower - 128.0).max() <= 2.0 and image[:8].std() > _FLAT:
            kinds.append("cut off")  # decoders fill what is missing with middle grey
        elif _neighbour_correlation(image) < _NOISE:
            kinds.append("noise")
        else:
            kinds.append("")
    return kinds


def _neighbour_correlation(image: npt.NDArray[np.float32]) -> float:
    centred = image - image.mean()
    variance = float((centred**2).mean())
    across = float((centred[:, 1:] * centred[:, :-1]).mean())
    down = float((centred[1:] * centred[:-1]).mean())
    return max(across, down) / max(variance, 1e-9)


def _leaks(
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
            _mend_of_leaks(source, first, bool(exact)),
        )
    ]


def _mend_of_leaks(source: Source, first: str, by_content: bool) -> str:
    if _is_prepared(source):
        return _PREPARE_ANEW
    if source.kind == "csv":
        return "take their lines on one side out of the list"
    if source.kind == "parquet":
        return "leave their rows out of one side"
    folder = first.partition("/")[0]
    # A test/ would serve as the validation set where there is no other.
    if by_content and source.kind == "folder" and folder in HELD_OUT and source.test is None:
        return f"delete them on one side, or delete {folder}/ and let alexnet split by content"
    return "delete them on one side"


def _resembling(some: Sample, others: Sample) -> set[str]:
    """The keys of images that look like one of the others; without contrast they would like any."""
    looks = features(some)
    known = 1 if some is others else 0  # itself
    alike = resembled(looks, features(others), _SAME_PICTURE) > known
    return {some.keys[int(i)] for i in np.flatnonzero(alike & (looks.std(1) > _CONTRAST))}


def _scenes(train: Sample) -> list[Finding]:
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


def _balance(source: Source) -> list[Finding]:
    share = shares(source.train.labels, len(source.classes))
    counts = np.bincount(source.train.labels, minlength=len(source.classes))
    largest, smallest = int(counts.argmax()), int(counts.argmin())
    if share[largest] >= _DOMINATES:
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
            "error" if len(contradicting) >= _MANY_BAD * len(train) else "warning",
            f"{len(contradicting)} training images are there under another class as well, such as "
            f"{train.keys[contradicting[0]]}",
            "decide for one class each",
        )
    ]


def _contrast(train: Sample) -> list[Finding]:
    """Images that were normalised before they were stored."""
    if len(train) < 2:
        return []
    pixels = train.thumbnails.astype(np.float32)
    deviation = float((pixels - pixels.mean(0)).std())
    darkest, brightest = np.percentile(pixels, (1, 99))
    if deviation >= _LOW_CONTRAST or brightest - darkest >= _LOW_RANGE:
        return []
    return [
        Finding(
            "low-contrast",
            "error",
            f"pixels deviate by {deviation:.1f} grey levels from their mean, photographs by 60: "
            "the images were normalised before they were stored, and the network's initial "
            "weights are too small for such inputs",
            "store images with their full range, 0 to 255",
        )
    ]


def _sizes(source: Source, train: Sample) -> list[Finding]:
    if not len(train):
        return []
    tiny = train.shorter_sides < _TINY * np.median(train.shorter_sides)
    if tiny.sum() < max(3, 0.02 * len(train)):
        return []
    return [
        Finding(
            "tiny-images",
            "note",
            f"{int(tiny.sum())} of {len(train)} images are less than a quarter of the others' "
            f"size, such as {train.keys[int(np.flatnonzero(tiny)[0])]}",
            _anew_or_out(source, "they may be previews; replace them"),
        )
    ]


def _rotated(train: Sample, validation: Sample) -> list[Finding]:
    """Photographs that lie on their side unless a viewer turns them, as those of phones do."""
    samples = (train, validation)
    keys = [s.keys[int(i)] for s in samples for i in np.flatnonzero(s.rotated)]
    if not keys:
        return []
    total = len(train) + len(validation)
    return [
        Finding(
            "rotated-images",
            "warning" if len(keys) >= _MANY_ROTATED * total else "note",
            f"{len(keys)} of {total} images say that they are rotated, the first {keys[0]}; their "
            "pixels are used as stored",
            "rotate them, for example with exiftran or `mogrify -auto-orient`",
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


def _grayscale(sample: Sample) -> npt.NDArray[np.bool_]:
    pixels = sample.thumbnails.astype(np.int16)
    spread: npt.NDArray[np.bool_] = (pixels.max(3) - pixels.min(3)).max((1, 2)) <= 2
    return spread
