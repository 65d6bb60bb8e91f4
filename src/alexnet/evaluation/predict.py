"""What is in this picture? Prediction on files, folders and pictures in memory."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

from alexnet.data.encoded import read_encoded
from alexnet.data.folders import images_in
from alexnet.data.images import BadImage, load_square, square_of_picture
from alexnet.data.pixels import images_in_memory
from alexnet.errors import UserError
from alexnet.evaluation.evaluate import predict_images
from alexnet.evaluation.inference import answering, use_fastest_forms
from alexnet.files import at_home
from alexnet.model.weights import load
from alexnet.parallel.world import make_world
from alexnet.rows import finite

Picture = str | Path | Image | npt.NDArray[np.uint8]
"""A file, a folder of files, or a picture in memory: of PIL, or (H, W, 3) uint8 RGB."""

_BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, or why there are none.

    Attributes:
        path: the file; of a picture in memory its place among those given, such as "[0]".
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
        UserError: no such run, weights or device.
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
        self, pictures: Iterable[Picture] | Picture, top: int = 5, views: int = 1
    ) -> list[Prediction]:
        """Predict files, the images in folders and pictures in memory, which are cut as files are.

        A bad image is an entry with `error`, and so is a path with nothing there.

        Raises:
            TypeError: something that is no picture.
            UserError: nothing is there at any of the paths, or `top` is below 1.
        """
        if top < 1:
            raise UserError(f"top must be at least 1, not {top}")
        found = list(_found(pictures))
        missing = [nothing for _, nothing in found if isinstance(nothing, UserError)]
        if missing and len(missing) == len(found):
            raise missing[0]
        blocks = (found[i : i + _BATCH] for i in range(0, len(found), _BATCH))
        return [entry for block in blocks for entry in self._block(block, top, views)]

    def _block(self, found: Sequence["_Found"], top: int, views: int) -> Iterator[Prediction]:
        size = self.model.stored_size
        pixels: list[npt.NDArray[np.uint8]] = []
        errors: dict[str, str] = {}
        for name, picture in found:
            try:
                pixels.append(_square(picture, size))
            except (BadImage, UserError) as error:
                errors[name] = str(error)
            except OSError as error:
                errors[name] = error.strerror or str(error)
        readable = [name for name, _ in found if name not in errors]
        stack = np.stack(pixels) if pixels else np.empty((0, size, size, 3), dtype=np.uint8)
        images = images_in_memory(stack, np.zeros(len(stack), dtype=np.int64), readable)
        blocks = predict_images(self.model, images, views, self.world, _BATCH, answer=self._answer)
        probabilities = (row for rows in blocks for row in rows)
        for name, _ in found:
            if name in errors:
                yield Prediction(name, error=errors[name])
                continue
            row = next(probabilities)
            best = np.argsort(-row, kind="stable")[:top]
            yield Prediction(name, tuple((self.classes[i], float(row[i])) for i in best))


_InMemory = Image | npt.NDArray[np.uint8]
# The `path` of a prediction, and its picture or why there is none.
_Found = tuple[str, Path | _InMemory | UserError]


def _found(pictures: Iterable[Picture] | Picture) -> Iterator[_Found]:
    """Every picture that was given or lies in a folder that was given."""
    for index, picture in enumerate(_separate(pictures)):
        if isinstance(picture, str | Path):
            yield from _found_at(at_home(picture))
        elif _is_in_memory(picture):
            yield f"[{index}]", picture
        else:
            raise _no_picture(picture)


def _found_at(path: Path) -> list[_Found]:
    try:
        return [(str(file), file) for file in image_files(path)]
    except UserError as nothing:
        return [(str(path), nothing)]


def _separate(pictures: Iterable[Picture] | Picture) -> Iterable[Picture]:
    if isinstance(pictures, str | Path | Image | np.ndarray):
        return [pictures]
    if isinstance(pictures, Iterable):
        return pictures
    raise _no_picture(pictures)


def _is_in_memory(picture: Any) -> bool:
    if not isinstance(picture, np.ndarray):
        return isinstance(picture, Image)
    return picture.dtype == np.uint8 and picture.shape[2:] == (3,) and picture.size > 0


def _no_picture(given: Any) -> TypeError:
    kind = type(given).__name__
    if isinstance(given, np.ndarray):
        kind = f"{given.dtype} array of shape {given.shape}"
    return TypeError(
        "a picture is the path of a file or folder, a PIL image or an array (height, width, 3) of "
        f"uint8 RGB, not: {kind}"
    )


def _square(picture: Path | _InMemory | UserError, size: int) -> npt.NDArray[np.uint8]:
    if isinstance(picture, UserError):
        raise picture
    if isinstance(picture, Path):
        return load_square(read_encoded(os.fspath(picture)), size)
    return square_of_picture(picture, size)


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
