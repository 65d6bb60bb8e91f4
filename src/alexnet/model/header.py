"""The header of a weights file, and what is said of files that have none of ours. Free of torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from alexnet.errors import UserError, in_a_line

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


def misfit(path: Path, error: Exception) -> UserError:
    """What is said of weights whose header says something else than they are."""
    return UserError(f"the weights {path} do not fit their own header: {in_a_line(error)}")
