"""Where a run goes, and how processes that are started again find theirs."""

import shutil
from pathlib import Path

import pytest

from alexnet.training.choices import resolve_config
from alexnet.training.directory import create_run


@pytest.mark.parametrize("name", ["cats", "cats[2020]"])
def test_a_restart_finds_its_run(
    name: str, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(image_folder, name)
    config = resolve_config(name, None, ["train.epochs=1"])
    first, second = create_run(config, None), create_run(config, None)
    assert [run.name for run in (first, second)] == [f"{name}-default", f"{name}-default-2"]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert create_run(config, None) == second
