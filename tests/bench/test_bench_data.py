"""`alexnet bench data` on pictures of the user's: so many of them, of whatever classes."""

from pathlib import Path
from typing import Any

import pytest

from alexnet.bench import data
from alexnet.data.prepare import prepare
from alexnet.parallel.world import make_world


def test_so_many_pictures_are_taken_from_all_over(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first eight are of one class."""
    prepared: list[dict[str, Any]] = []

    def counted(*arguments: Any, **options: Any) -> dict[str, Any]:
        prepared.append(prepare(*arguments, **options))
        return prepared[-1]

    monkeypatch.setattr(data, "prepare", counted)
    plan = data.Plan(image_folder, False, 8, 1, 1, make_world("cpu"), only="native")
    (row,) = data.bench_data(plan)
    assert row.name == "data/native-to-prepared"
    assert {made["images"] for made in prepared} == {8}
