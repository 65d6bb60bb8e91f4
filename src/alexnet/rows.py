"""JSON lines: one row a line, whole or not there. JSON has no number that is not finite."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alexnet.errors import UserError
from alexnet.files import cannot_write, flush


class RowLog:
    """Appends rows to a file; a number that is not finite becomes null.

    Args:
        path: the file; None where another process writes it.
        length: bytes of it to keep; what lies beyond was written after the checkpoint that a run
            goes on from, and will be written again. None: all of it.

    Attributes:
        length: bytes of the file: whole rows, for a power cut may have left half of one.
    """

    def __init__(self, path: Path | None, length: int | None = None) -> None:
        self._path = path
        self.length = length or 0
        if path is None:
            return
        try:
            path.touch()
            with path.open("r+b") as file:
                self.length = file.read(length).rfind(b"\n") + 1
                file.truncate(self.length)
        except OSError as error:
            raise cannot_write(path, error) from error

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row and hand it to the operating system.

        Raises:
            CannotWriteError: the disk is full; half a row is cut off when it is opened again.
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

    def flush(self) -> None:
        """Have the rows on the disk, where a power cut leaves them."""
        if self._path is not None:
            flush(self._path)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Every whole row of a file; a last line cut by a kill is left out.

    Raises:
        UserError: another line is damaged.
    """
    if not path.exists():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    return [_row_of(line, number, path) for number, line in enumerate(lines, start=1)]


def _row_of(line: bytes, number: int, path: Path) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:
        raise UserError(f"line {number} of {path} is damaged; delete that line") from None
    return row


def finite(value: Any) -> Any:
    """A JSON value with null for every number in it that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
