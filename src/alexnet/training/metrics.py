"""`metrics.jsonl`: one JSON object a line, cut back on resumption to where the checkpoint was."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class MetricsLog:
    """Appends rows to a file; a row that is not finite stores null, which JSON can hold.

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
        """Write one row and hand it to the operating system."""
        if self._path is None:
            return
        line = json.dumps({key: _finite(value) for key, value in row.items()}) + "\n"
        with self._path.open("ab") as file:
            self.length += file.write(line.encode())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Every whole row of a metrics file; a last line cut by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
