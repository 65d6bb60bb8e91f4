"""The header of a weights file, and what is said of files that have none of ours. Free of torch."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from alexnet.errors import UserError, in_a_line
from alexnet.files import at_home

FORMAT = "alexnet-weights-1"


@contextmanager
def open_weights(path: Path, framework: Literal["np", "pt"]) -> Iterator[Any]:
    """A weights file of ours, as safetensors opens it; its header is the file's metadata.

    Args:
        path: of the file.
        framework: of the tensors.

    Raises:
        UserError: it cannot be read, also later inside the block, or was written by others.
    """
    try:
        with safe_open(path, framework=framework) as file:
            if (file.metadata() or {}).get("format") != FORMAT:
                raise UserError(f"{path} was not written by alexnet")
            yield file
    except (SafetensorError, OSError) as error:
        raise UserError(f"cannot read the weights {path}: {error}") from None


def are_whole(path: Path) -> bool:
    """Whether a file holds weights of ours, of the size that its header says."""
    try:
        with open_weights(path, "np"):
            return True
    except UserError:
        return False


def training_data_of(run_or_weights: str | Path) -> dict[str, Any]:
    """What the weights say of the images they were trained on; nothing where there are none.

    Raises:
        UserError: the header is damaged.
    """
    path = at_home(run_or_weights)
    path = path / "weights.safetensors" if path.is_dir() else path
    known: dict[str, Any] = entry(path, "training_data") if are_whole(path) else {}
    return known


def entry(path: Path, name: str) -> Any:
    """One entry of the header of a weights file.

    Raises:
        UserError: the file or its header is damaged, or was written by others.
    """
    with open_weights(path, "np") as file:
        try:
            return json.loads(file.metadata()[name])
        except (ValueError, KeyError) as error:
            raise misfit(path, error) from None


def misfit(path: Path, error: Exception) -> UserError:
    """What is said of weights whose header says something else than they are."""
    return UserError(f"the weights {path} do not fit their own header: {in_a_line(error)}")
