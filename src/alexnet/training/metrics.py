"""`metrics.jsonl`: one JSON object a line, cut back on resumption to where the checkpoint was."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alexnet.files import cannot_write


class MetricsLog:
    """Appends rows to a file; a number that is not finite becomes null, which JSON can hold.

    Args:
        path: the file; None where another process writes it.
        length: bytes that belong to the run so far; what lies beyond was written after the
            checkpoint that the run goes on from, and will be written again.
    """

    def __init__(self, path: Path | None, length: int) -> None:
        self._path = path
        self.length = length
        if path is None:
            return
        path.touch()
        with path.open("r+b") as file:
            self.length = min(length, path.stat().st_size)  # never longer: that would add zeros
            file.truncate(self.length)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row and hand it to the operating system.

        Raises:
            CannotWriteError: the disk is full; half a row is cut off when the run goes on.
        """
        if self._path is None:
            return
        line = json.dumps(finite(row)) + "\n"
        try:
            with self._path.open("ab") as file:
                file.write(line.encode())
        except OSError as error:
            raise cannot_write(self._path, error) from error
        self.length += len(line.encode())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Every whole row of a metrics file; a last line cut by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def evaluations(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of validation errors, those at the pauses of a search among them."""
    return [row for row in rows if row["split"] in ("val", "pause")]


def finite(value: Any) -> Any:
    """A JSON value with null for every number in it that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
