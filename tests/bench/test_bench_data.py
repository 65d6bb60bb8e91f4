"""`alexnet bench data` on pictures of the user's: so many of them, of whatever classes."""

from collections.abc import Callable
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


def test_what_we_skip_is_nothing_to_the_peer_either(
    new_image_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_image_folder(count=4)
    (folder / "train" / "red" / "001.png").write_bytes(b"no picture")
    counted: list[int] = []
    written_speed = data._written_speed

    def noted(files: data._Files, workers: int, out: Path) -> float:
        speed = written_speed(files, workers, out)
        counted.append(len(list(out.iterdir())))
        return speed

    monkeypatch.setattr(data, "_written_speed", noted)
    plan = data.Plan(folder, True, 12, 1, 1, make_world("cpu"), only="native")
    ours, peer = data.bench_data(plan)
    assert (ours.name, peer.name) == ("data/native-to-prepared", "data/pillow-dataloader-prepare")
    assert counted == [11, 11]
