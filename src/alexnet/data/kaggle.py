"""The two files with which Kaggle's copy of ILSVRC-2012 replaces the development kit."""

import csv
import re
from pathlib import Path

import numpy as np

from alexnet.data.devkit import Devkit
from alexnet.errors import UserError

_MAPPING = "LOC_synset_mapping.txt"  # "n01440764 tench, Tinca tinca", a class a line
_SOLUTION = "LOC_val_solution.csv"  # ImageId,PredictionString: the WNID, then boxes
_NUMBER = re.compile(r"_(\d{8})$")  # of an image without its ending
IMAGES = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
"""Where the copy keeps train/, val/ and test/."""


def is_kaggle(folder: Path) -> bool:
    """Whether a folder holds Kaggle's copy."""
    has_images = any((folder / place / "train").is_dir() for place in IMAGES)
    return has_images and (folder / _MAPPING).is_file()


def read_kaggle(folder: Path) -> Devkit:
    """What the development kit would say, but for the order of the classes: by identifier.

    Raises:
        UserError: a file is missing or damaged.
    """
    try:
        mapping = (folder / _MAPPING).read_text(encoding="utf-8").splitlines()
        with (folder / _SOLUTION).open(encoding="utf-8", newline="") as file:
            solution = [(row[0], row[1]) for row in csv.reader(file) if len(row) > 1][1:]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {folder} as Kaggle's copy of ILSVRC-2012: {error}") from None
    pairs = [line.partition(" ") for line in mapping if line.strip()]
    wnids = tuple(wnid for wnid, _, _ in pairs)
    places = {wnid: label for label, wnid in enumerate(wnids)}
    labels: dict[int, int] = {}  # by line: the image's number less 1, or its place without one
    for place, (image, prediction) in enumerate(sorted(solution)):
        wnid = prediction.partition(" ")[0]
        if wnid not in places:
            raise UserError(f"{folder / _SOLUTION}: {image} is of {wnid!r}, not in {_MAPPING}")
        number = _NUMBER.search(image)
        labels[int(number[1]) - 1 if number else place] = places[wnid]
    lines = range(max(labels, default=-1) + 1)
    validation = np.array([labels.get(line, -1) for line in lines], dtype=np.int64)
    words = tuple(words.strip() for _, _, words in pairs)
    return Devkit(2012, wnids, words, validation, test=None)
