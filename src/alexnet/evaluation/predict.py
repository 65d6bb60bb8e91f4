"""What is in this picture? Prediction on files and folders."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.data.encoded import read_encoded
from alexnet.data.folders import images_in
from alexnet.data.images import BadImage, load_square
from alexnet.data.pixels import images_in_memory
from alexnet.errors import UserError
from alexnet.evaluation.evaluate import predict_images
from alexnet.evaluation.inference import answering, use_fastest_forms
from alexnet.model.weights import load
from alexnet.parallel.world import make_world
from alexnet.rows import finite

_BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, or why there are none.

    Attributes:
        path: the file.
        classes: (name, probability), most probable first.
        error: one line where the file could not be read, else None.
    """

    path: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The form of the command line's JSON contract."""
        if self.error is not None:
            return {"path": self.path, "error": self.error}
        pairs = [{"label": name, "probability": finite(value)} for name, value in self.classes]
        return {"path": self.path, "predictions": pairs}


class Predictor:
    """A trained network that takes pictures.

    Args:
        run_or_weights: a run directory or a weights file.
        device: auto, cpu or cuda.

    Raises:
        UserError: no such run or weights.
    """

    def __init__(self, run_or_weights: str | Path, device: str = "auto") -> None:
        self.model = load(run_or_weights)
        self.world = make_world(device)
        use_fastest_forms(self.model, self.world)
        self._answer = answering(self.model, self.world)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes the network tells apart."""
        return self.model.classes

    def __call__(
        self, paths: Sequence[str | Path] | str | Path, top: int = 5, views: int = 1
    ) -> list[Prediction]:
        """Predict files and the images in folders.

        A bad image is an entry with `error`, and so is a path with nothing there.

        Raises:
            UserError: nothing is there at any of the paths.
        """
        given = [paths] if isinstance(paths, str | Path) else paths
        files, missing = _all_files([Path(path) for path in given])
        blocks = (files[i : i + _BATCH] for i in range(0, len(files), _BATCH))
        return [entry for block in blocks for entry in self._block(block, missing, top, views)]

    def _block(
        self, files: Sequence[Path], missing: Mapping[Path, str], top: int, views: int
    ) -> Iterator[Prediction]:
        size = self.model.stored_size
        pixels: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
        errors = dict(missing)
        for file in files:
            if file in missing:
                continue
            try:
                pixels.append(load_square(read_encoded(os.fspath(file)), size))
            except BadImage as error:
                errors[file] = str(error)
            except OSError as error:
                errors[file] = error.strerror or str(error)
        readable = [str(file) for file in files if file not in errors]
        stack = np.stack(pixels) if pixels else np.empty((0, size, size, 3), dtype=np.uint8)
        images = images_in_memory(stack, np.zeros(len(stack), dtype=np.int64), readable)
        blocks = predict_images(self.model, images, views, self.world, _BATCH, answer=self._answer)
        probabilities = (row for rows in blocks for row in rows)
        for file in files:
            if file in errors:
                yield Prediction(str(file), error=errors[file])
                continue
            row = next(probabilities)
            best = np.argsort(-row, kind="stable")[:top]
            yield Prediction(str(file), tuple((self.classes[i], float(row[i])) for i in best))


def _all_files(paths: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """The image files at all paths, and in their places those that have none, with the reason.

    Raises:
        UserError: none has any.
    """
    files: list[Path] = []
    missing: dict[Path, str] = {}
    for path in paths:
        try:
            files += image_files(path)
        except UserError as error:
            missing[path] = str(error)
            files.append(path)
    if missing and len(missing) == len(set(paths)):
        raise UserError(missing[paths[0]])
    return files, missing


def image_files(path: Path) -> list[Path]:
    """A file itself, or the images anywhere in a folder, sorted by name.

    Raises:
        UserError: nothing there, or no image in the folder.
    """
    if path.is_dir():
        found = [path / image for image in images_in(path)]
        if not found:
            raise UserError(f"the folder {path} holds no image")
        return found
    if not path.exists():
        raise UserError(f"there is no file or folder {path}")
    return [path]
