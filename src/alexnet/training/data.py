"""The data of a run: decoded, summarised, and known again when the run is resumed."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alexnet.commands import quoted_command
from alexnet.config import Config, DataConfig
from alexnet.data.loading import choose_place, load_images, say_what_was_left_out
from alexnet.data.pixels import ImageSet
from alexnet.data.sources import NAMES, Source, open_source
from alexnet.data.statistics import Statistics
from alexnet.errors import UserError
from alexnet.files import read_json, write_text
from alexnet.model.catalog import resolve
from alexnet.parallel.world import World
from alexnet.progress import say


@dataclass(frozen=True)
class Data:
    """The decoded images of a run and what was computed from them."""

    source: Source
    train: ImageSet
    validation: ImageSet
    statistics: Statistics
    validation_fraction: float  # of a source that has no validation split of its own

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(name, reason) of every image that was left out."""
        return [*self.source.unusable, *self.train.skipped, *self.validation.skipped]

    def manifest(self) -> dict[str, Any]:
        """What the weights file says of its training data."""
        return {
            "name": self.source.name,
            "kind": self.source.kind,
            "validation_fraction": self.validation_fraction,
            "train_images": len(self.train),
            "validation_images": len(self.validation),
            "skipped": len(self.skipped),
            "fingerprint": self.fingerprint(),
        }

    def mean(self, kind: str, side: int) -> torch.Tensor:
        """What the network subtracts, (3, side, side): the centre of the mean image.

        Whatever the crop's offset, as in the authors' code (convdata_jpeg.py, data_mean_crop).
        """
        mean = self.statistics.mean_image
        if kind == "channel":
            mean = np.broadcast_to(mean.mean(axis=(0, 1)), mean.shape)
        border = (len(mean) - side) // 2
        center = mean[border : border + side, border : border + side]
        return torch.from_numpy(center.transpose(2, 0, 1).astype(np.float32))

    def fingerprint(self) -> str:
        """A hash of names and labels, by which a resumed run knows its data again."""
        digest = hashlib.sha256()
        for images in (self.train, self.validation):
            digest.update("\n".join(images.keys).encode())
            digest.update(images.labels.tobytes())
        return digest.hexdigest()


def load_data(config: Config, world: World) -> Data:
    """Open, decode and summarise the data of a run; images that cannot be read are named.

    Raises:
        UserError: the data cannot be used.
    """
    where = config.data.source
    if where not in NAMES and not Path(where).exists():
        raise UserError(
            f"the images are no longer in {where}; bring them back, or train where they are now: "
            "alexnet train DATA --config RUN/config.json"
        )
    source = open_source(where, validation_fraction=config.data.validation_fraction)
    fraction = _fraction(config, source)
    size = config.data.size
    if size < (side := resolve(config.model).image_size):
        raise UserError(
            f"data.size={size} is smaller than the {side} pixels the network sees; "
            f"use --set data.size={side} or more"
        )
    place = choose_place(
        len(source.train) + len(source.validation),
        world.device,
        size,
        config.data.workers,
        config.data.pixels,
    )
    say(f"pixels: {place.in_words}")
    statistics = _known_statistics(source, size)
    trusted = source.statistics is not None
    train, sums = load_images(
        source.train, place, "reading training images", statistics is None, trusted
    )
    validation, _ = load_images(
        source.validation, place, "reading validation images", trusted=trusted
    )
    say_what_was_left_out(source, [*source.unusable, *train.skipped, *validation.skipped])
    _check_readable(source, train, validation)
    statistics = statistics or (sums.statistics() if sums else None)
    assert statistics is not None
    return Data(source, train, validation, statistics, fraction)


def _fraction(config: Config, source: Source) -> float:
    """The part that was held out: a prepared set was divided when it was made.

    Raises:
        UserError: the user wants another one.
    """
    wanted, made = config.data.validation_fraction, source.validation_fraction
    if made is None:
        return wanted
    if wanted not in (made, DataConfig.validation_fraction):
        raise UserError(
            f"{source.name} was prepared with validation_fraction={made:g}, and "
            f"data.validation_fraction={wanted:g} changes nothing; leave it out, or prepare anew"
        )
    return made


def _known_statistics(source: Source, size: int) -> Statistics | None:
    """Those that came with the data, if they are of squares of this size."""
    known = source.statistics
    return known if known and len(known.mean_image) == size else None


def _check_readable(source: Source, train: ImageSet, validation: ImageSet) -> None:
    if not len(validation):
        raise UserError(f"no validation image of {source.name} can be read")
    count = len(source.classes)
    offered = np.bincount(source.train.labels, minlength=count)
    readable = np.bincount(train.labels, minlength=count)
    lost = np.flatnonzero((offered > 0) & (readable == 0))
    if len(lost):
        name = source.classes[int(lost[0])]
        raise UserError(f"no training image of class {name!r} can be read; mend or remove it")
    if np.count_nonzero(readable) < 2:
        raise UserError(f"{source.name} has training images of one class only; two are needed")
    if not offered.all():
        say(f"{np.count_nonzero(offered == 0)} of {count} classes have no training images")


def check_same_data(folder: Path, data: Data) -> None:
    """Refuse to continue a run or study on other images; note which they are at its start."""
    note = folder / "data.json"
    manifest = data.manifest() | {
        "skipped": data.skipped,
        "classes": data.source.classes,
        "notes": data.source.notes,
    }
    if note.exists():
        refuse_other_data(folder, data)
    else:
        write_text(note, json.dumps(manifest, indent=2) + "\n")


def refuse_other_data(folder: Path, data: Data) -> None:
    """Refuse images that are not those a run or study began with, as far as it has noted them.

    Raises:
        UserError: names, labels or classes are others.
    """
    note = folder / "data.json"
    if not note.exists():
        return
    noted = read_json(note)
    if noted["fingerprint"] != data.fingerprint() or noted["classes"] != list(data.source.classes):
        config = folder / "config.json"
        anew = f"start a new run with {quoted_command('train', '--config', config)}"
        instead = anew if config.exists() else "choose another --out"
        raise UserError(
            f"the images of {data.source.name} are not those that {folder} began with; restore "
            f"them, or {instead}"
        )
