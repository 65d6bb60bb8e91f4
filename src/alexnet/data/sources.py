"""What can be read: every source of labelled images looks the same from here on."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alexnet.errors import UserError
from alexnet.suggest import unknown

NAMES = ("digits", "cifar10")
"""The sources that go by a name; every other one is a path."""


@dataclass(frozen=True)
class Split:
    """The images of one split, still encoded.

    `read` may be called from any number of threads. It raises OSError if the image has gone.
    """

    keys: Sequence[str]  # unique names such as "train/cat/1.jpg"
    labels: npt.NDArray[np.int64]  # (N,), indices into the classes of the source
    read: Callable[[int], bytes]  # the encoded bytes of image i, 0 <= i < N

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.int64]) -> "Split":
        """The split of the images at these (M,) indices, in their order."""
        keys = [self.keys[i] for i in indices]
        return Split(keys, self.labels[indices], lambda i: self.read(int(indices[i])))


@dataclass(frozen=True)
class Source:
    """Labelled images in two splits."""

    name: str  # "digits", "cifar10", or the name of the folder
    kind: str  # "digits", "cifar10" or "folder"
    classes: tuple[str, ...]
    train: Split
    validation: Split
    mirror: bool = True  # False where a mirror image is another thing
    notes: tuple[str, ...] = ()  # what was decided or left out on the way, one line each


def open_source(data: str, *, validation_fraction: float = 0.2) -> Source:
    """Open what a user calls DATA.

    Args:
        data: a name ("digits", "cifar10"), the path of a CIFAR-10 archive or of its unpacked
            batches, or an image folder. A name wins over a folder of that name ("./digits" is
            the folder).
        validation_fraction: the part of a source without a validation split of its own that
            becomes one.

    Raises:
        UserError: nothing of the kind, or it cannot be used; one line says what is wanted.
    """
    # The readers know this module, so it can know them only from here.
    from alexnet.data.cifar10 import holds_cifar10, open_cifar10
    from alexnet.data.digits import open_digits
    from alexnet.data.folders import open_folder

    if data == "digits":
        return open_digits(validation_fraction=validation_fraction)
    if data == "cifar10":
        return open_cifar10()
    path = Path(data).expanduser()
    if not path.exists():
        raise UserError(_nothing_there(data))
    if holds_cifar10(path):
        return open_cifar10(path)
    if not path.is_dir():
        raise UserError(
            f"{data} is a file; wanted is a folder of images, a CIFAR-10 archive (.tar.gz), "
            f"or a name ({', '.join(NAMES)})"
        )
    return open_folder(path, validation_fraction=validation_fraction)


def _nothing_there(data: str) -> str:
    looks_like_a_path = os.sep in data or data.startswith((".", "~"))
    if looks_like_a_path:
        return f"no such file or folder: {data}"
    return f"{unknown('data set', data, NAMES)}; there is no folder {data!r} either"
