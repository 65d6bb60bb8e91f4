"""Checkpoints: everything a run needs to go on as if nothing had happened.

One safetensors file each: tensors, and a header of JSON. Never a pickle. The last two are kept,
so that a file damaged after it was written still leaves one to go on from.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from alexnet.errors import DamagedRunError, UserError
from alexnet.files import remove_leftovers, write_atomically
from alexnet.progress import say

FORMAT = "alexnet-checkpoint-1"
_KEPT = 2
_UNKNOWN = {"left_chance": True}  # of checkpoints that were written before this was noted


@dataclass(frozen=True)
class Position:
    """Where a run is, in numbers; order, crops, noise and dropout all follow from `step`."""

    step: int = 0
    validation_errors: list[float] = field(default_factory=list)  # not those at pauses
    best_error: float | None = None
    metrics_bytes: int = 0  # length of metrics.jsonl that belongs to this position
    train_seconds: float = 0.0
    wait_seconds: float = 0.0
    images: int = 0
    left_chance: bool = False  # whether the loss has been below that of guessing


def save_checkpoint(folder: Path, position: Position, tensors: dict[str, Tensor]) -> None:
    """Write a checkpoint and delete those older than the last two.

    Raises:
        CannotWriteError: it cannot be written; the checkpoints before it are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header = {"format": FORMAT, "position": json.dumps(asdict(position))}
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path = folder / f"step-{position.step:08d}.safetensors"
    write_atomically(path, lambda temporary: save_file(contiguous, temporary, metadata=header))
    for old in checkpoints(folder)[:-_KEPT]:
        old.unlink()


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def load_checkpoint(folder: Path) -> tuple[Position, dict[str, Tensor]] | None:
    """The newest readable checkpoint, or None where there is none.

    Raises:
        UserError: the disk does not give one.
        DamagedRunError: there are checkpoints, and none can be read; all stay as they are.
    """
    remove_leftovers(folder)
    damaged: list[Path] = []
    for path in reversed(checkpoints(folder)):
        try:
            loaded = _read(path)
        except OSError as error:  # of the disk or the system; the file may be well
            raise UserError(f"cannot read the checkpoint {path}: {error}") from error
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            say(f"the checkpoint {path} cannot be read ({error}); trying the one before it")
            damaged.append(path)
            continue
        for bad in damaged:
            bad.rename(bad.with_suffix(".damaged"))  # must not count among those that are kept
        return loaded
    if damaged:
        raise DamagedRunError(f"none of the checkpoints in {folder} can be read; start a new run")
    return None


def is_whole(path: Path) -> bool:
    """Whether a file is a checkpoint, of the size that its header says."""
    try:
        with _opened(path):
            return True
    except (SafetensorError, OSError, ValueError):
        return False


def _read(path: Path) -> tuple[Position, dict[str, Tensor]]:
    with _opened(path) as file:
        position = Position(**{**_UNKNOWN, **json.loads(file.metadata()["position"])})
        return position, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with safe_open(path, framework="pt") as file:
        if (file.metadata() or {}).get("format") != FORMAT:
            raise ValueError("not written by alexnet")
        yield file
