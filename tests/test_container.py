"""The limit of a container, read from files as Linux lays them out."""

from pathlib import Path

import pytest
import torch

from alexnet.parallel import memory
from alexnet.parallel.container import allowed_bytes


def group(folder: Path, files: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")


def member(root: Path, line: str) -> None:
    group(root / "proc/self", {"cgroup": f"3:cpuset:/\n{line}"})


def test_version_2_and_cached_files_do_not_count_as_used(tmp_path: Path) -> None:
    member(tmp_path, "0::/")
    stat = "anon 100\ninactive_file 300\nactive_file 50"
    group(
        tmp_path / "sys/fs/cgroup",
        {"memory.max": 1000, "memory.current": 600, "memory.stat": stat},
    )
    assert allowed_bytes(tmp_path) == 700


def test_version_1(tmp_path: Path) -> None:
    member(tmp_path, "4:memory:/job/7")
    group(
        tmp_path / "sys/fs/cgroup/memory/job/7",
        {
            "memory.limit_in_bytes": 1000,
            "memory.usage_in_bytes": 600,
            "memory.stat": "inactive_file 1\ntotal_inactive_file 100",
        },
    )
    assert allowed_bytes(tmp_path) == 500


def test_the_tightest_of_the_groups_above_holds(tmp_path: Path) -> None:
    member(tmp_path, "0::/outer/inner")
    outer = tmp_path / "sys/fs/cgroup/outer"
    group(outer, {"memory.max": 400, "memory.current": 100, "memory.stat": ""})
    group(outer / "inner", {"memory.max": "max", "memory.current": 100, "memory.stat": ""})
    assert allowed_bytes(tmp_path) == 300


def test_a_group_that_shows_itself_as_the_top(tmp_path: Path) -> None:
    """As in a container whose path is that of the host."""
    member(tmp_path, "4:memory:/docker/0123")
    group(
        tmp_path / "sys/fs/cgroup/memory",
        {"memory.limit_in_bytes": 1000, "memory.usage_in_bytes": 1200, "memory.stat": ""},
    )
    assert allowed_bytes(tmp_path) == 0


def test_no_limit_is_none(tmp_path: Path) -> None:
    assert allowed_bytes(tmp_path) is None
    member(tmp_path, "0::/")
    group(tmp_path / "sys/fs/cgroup", {"memory.max": "max", "memory.current": 5})
    assert allowed_bytes(tmp_path) is None


def test_the_container_bounds_what_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = memory.available_bytes(torch.device("cpu"))
    monkeypatch.setattr(memory, "allowed_bytes", lambda: 1000)
    assert memory.available_bytes(torch.device("cpu")) == 1000
    monkeypatch.setattr(memory, "allowed_bytes", lambda: None)
    assert memory.available_bytes(torch.device("cpu")) > 1000
    assert whole > 1000
