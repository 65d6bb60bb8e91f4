"""The names of `import alexnet`: what they take, and what they say of what they do not."""

from collections.abc import Callable
from pathlib import Path

import pytest

import alexnet
from alexnet.data.sources import open_source
from alexnet.training.choices import resolve_config

TINY = ("model.width=0.03125", "model.image_size=64", "data.size=72", "train.alarm=false")


@pytest.fixture(scope="module")
def trained(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("api") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alexnet.training.run.write_run_report", lambda *things: None)
        alexnet.train(image_folder, out=run, assignments=[*TINY, "train.steps=2"])
    return run


def test_data_may_be_a_path(trained: Path, image_folder: Path) -> None:
    measured = alexnet.evaluate([trained], image_folder)
    assert measured.images == 30


def test_a_path_is_never_a_name(
    new_image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_image_folder(count=2).rename(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert open_source("digits").kind == "digits"
    assert open_source(Path("digits")).kind == "folder"
    config = resolve_config(Path("digits"), None, TINY)
    assert config.data.source == str((tmp_path / "digits").resolve())
