"""What the pictures of a data set show: nothing, noise, too little contrast, the wrong way up."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from alexnet.data.sources import Source
from alexnet.doctor.mends import anew_or_out
from alexnet.doctor.sample import Sample
from alexnet.findings import Finding, Severity

MANY_BAD = 0.05  # of the images unreadable or corrupted: the set is damaged, not a few files
DOMINATES = 0.9  # of all images in one class
_FLAT = 1.0  # grey levels; such an image shows nothing
# Correlation of neighbouring pixels of a thumbnail: photographs 0.9, drawings 0.6, noise 0.0.
_NOISE = 0.15
_LOW_CONTRAST = 6.0  # grey levels about the mean image; photographs 60, digits 70
_LOW_RANGE = 40.0  # grey levels between the darkest and the brightest; a scene that stays has more
_MANY_ROTATED = 0.05  # of the images; of a few the network sees enough upright
_TINY = 0.25  # of the median shorter side


def corrupted(source: Source, train: Sample, validation: Sample) -> list[Finding]:
    """Images that decode, but show nothing, noise, or the grey of a broken download."""
    keys = [*train.keys, *validation.keys]
    kinds = [*corruption(train.thumbnails), *corruption(validation.thumbnails)]
    bad = [(key, kind) for key, kind in zip(keys, kinds, strict=True) if kind]
    if not bad or len(bad) < max(2, 0.005 * len(keys)):
        return []
    seen = ", ".join(f"{count} {kind}" for kind, count in Counter(kinds).most_common() if kind)
    cause = f"{len(bad)} of {len(keys)} images show no picture ({seen}), the first {bad[0][0]}"
    mend = anew_or_out(source, "download or convert them anew")
    severity: Severity = "error" if len(bad) >= MANY_BAD * len(keys) else "warning"
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
    is_blank = counts[label] >= max(DOMINATES * bad.sum(), (labels == label).sum() / 2)
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


def low_contrast(train: Sample) -> list[Finding]:
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


def tiny(source: Source, train: Sample) -> list[Finding]:
    """Images far smaller than the others."""
    if not len(train):
        return []
    small = train.shorter_sides < _TINY * np.median(train.shorter_sides)
    if small.sum() < max(3, 0.02 * len(train)):
        return []
    return [
        Finding(
            "tiny-images",
            "note",
            f"{int(small.sum())} of {len(train)} images are less than a quarter of the others' "
            f"size, such as {train.keys[int(np.flatnonzero(small)[0])]}",
            anew_or_out(source, "they may be previews; replace them"),
        )
    ]


def rotated(train: Sample, validation: Sample) -> list[Finding]:
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


def grayscale(sample: Sample) -> npt.NDArray[np.bool_]:
    """(n,) which images have no colour."""
    pixels = sample.thumbnails.astype(np.int16)
    spread: npt.NDArray[np.bool_] = (pixels.max(3) - pixels.min(3)).max((1, 2)) <= 2
    return spread
