"""`manifest.json`: what a prepared set holds and how it was made. It is written last."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alexnet.data.shards import Shard
from alexnet.data.square_worker import Settings
from alexnet.data.statistics import Statistics
from alexnet.errors import UserError
from alexnet.files import write_text

FORMAT = 1
NAME = "manifest.json"
MEAN = "mean.npy"


@dataclass(frozen=True)
class PreparedSplit:
    """One split of a prepared set."""

    images: int
    images_per_class: list[int]
    shards: list[Shard]


@dataclass(frozen=True)
class Manifest:
    """Everything but pixels and mean image."""

    name: str
    kind: str  # of the source
    year: int | None  # of ILSVRC
    classes: list[str]
    class_ids: list[str]  # WordNet identifiers, or none
    mirror: bool  # as in `sources.Source`, and so is `crop`
    crop: bool
    settings: Settings
    splits: dict[str, PreparedSplit]
    mean_sha256: str
    components: dict[str, list[Any]]  # of colour: "vectors" in columns, "deviations"
    skipped: list[dict[str, str]]  # "key", "reason"
    notes: list[str]
    made: dict[str, Any]  # by which program, from what

    @property
    def images(self) -> int:
        """Of all splits."""
        return sum(split.images for split in self.splits.values())

    def to_json(self) -> dict[str, Any]:
        """The document; classes are listed in the order of their labels."""
        document = asdict(self)
        ids = document.pop("class_ids")
        document["classes"] = [
            {"name": name, "wnid": wnid} if wnid else {"name": name}
            for name, wnid in zip(self.classes, ids or [""] * len(self.classes), strict=True)
        ]
        return {"format": FORMAT, **document}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it atomically; CannotWriteError as for `files.write_atomically`."""
    document = json.dumps(manifest.to_json(), indent=1, ensure_ascii=False)
    write_text(folder / NAME, document + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared set.

    Raises:
        UserError: there is none, or it is none of ours.
    """
    try:
        document = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if (version := document.pop("format")) != FORMAT:
            raise UserError(
                f"{folder / NAME} is of format {version}, this program reads {FORMAT}; prepare the "
                "set again"
            )
        return _parse(document)
    except OSError as error:
        raise UserError(f"cannot read {folder / NAME}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder / NAME} is damaged ({' '.join(str(error).split())}); prepare the set again"
        ) from None


def components_to_json(statistics: Statistics) -> dict[str, list[Any]]:
    """The colour components as lists; JSON keeps every bit of a float."""
    components = statistics.components
    return {"vectors": components.vectors.tolist(), "deviations": components.deviations.tolist()}


def sha256(path: Path) -> str:
    """The checksum of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(document: dict[str, Any]) -> Manifest:
    classes = document.pop("classes")
    splits = {
        name: PreparedSplit(
            split["images"],
            split["images_per_class"],
            [Shard(**shard) for shard in split["shards"]],
        )
        for name, split in document.pop("splits").items()
    }
    return Manifest(
        classes=[entry["name"] for entry in classes],
        class_ids=[entry["wnid"] for entry in classes if "wnid" in entry],
        settings=Settings(**document.pop("settings")),
        splits=splits,
        **document,
    )
