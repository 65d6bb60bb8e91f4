"""The names of `import alexnet`: what they take, and what they say of what they do not."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import alexnet
from alexnet.config import Config, override, written
from alexnet.data.sources import open_source
from alexnet.model.cifar import CifarNet
from alexnet.training import run as training
from alexnet.training.choices import resolve_config

TINY = ("model.width=0.03125", "model.image_size=64", "data.size=72", "train.alarm=false")


@pytest.fixture(scope="module")
def trained(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("api") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "write_run_report", lambda *things: None)
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
    named = open_source("digits")
    assert named.kind == "digits"
    assert named.notes == ("digits: the embedded digits; the folder of that name is ./digits",)
    assert open_source(Path("digits")).kind == "folder"
    config = resolve_config(Path("digits"), None, TINY)
    assert config.data.source == str((tmp_path / "digits").resolve())
    monkeypatch.chdir(tmp_path / "digits")
    assert open_source("digits").notes == ()


def test_every_name_is_there() -> None:
    assert {getattr(alexnet, name).__name__ for name in alexnet.__all__} == set(alexnet.__all__)
    assert set(alexnet.__all__) >= {"resume", "UserError", "InterruptedRunError"}


def test_an_interrupted_training_says_what_to_resume(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the run gets a name that the caller has not chosen
    with monkeypatch.context() as patch:
        patch.setattr(training, "_announce", lambda *things: signal.raise_signal(signal.SIGINT))
        with pytest.raises(alexnet.InterruptedRunError) as stopped:
            alexnet.train(image_folder, assignments=[*TINY, "train.steps=2"])
    assert stopped.value.run is not None
    monkeypatch.setattr(training, "write_run_report", lambda *things: None)
    assert alexnet.resume(stopped.value.run)["steps"] == 2


def test_changes_may_be_a_mapping_and_a_configuration_a_file(tmp_path: Path) -> None:
    changes = {"optimizer.lr": 0.5, "model.columns": None, "model.variant": "caffe"}
    changes |= {"train.init": tmp_path, "optimizer.layer_rates": (("conv1", 1, 0.0),)}
    config = override(Config(), written(changes))
    assert config.optimizer.layer_rates == (("conv1", 1, 0.0),)
    assert config.train.init == str(tmp_path)
    (tmp_path / "config.json").write_text(config.to_json())
    for place in (tmp_path / "config.json", str(tmp_path / "config.json")):
        assert resolve_config(None, None, {}, place) == config
    with pytest.raises(alexnet.UserError, match=r"not the string 'train\.steps=1'"):
        alexnet.train("digits", assignments="train.steps=1")


def test_arguments_out_of_range_are_the_users_mistakes(trained: Path) -> None:
    for mistake, line in (
        (lambda: alexnet.evaluate([], "digits"), "there is no run to evaluate"),
        (lambda: alexnet.evaluate(trained, "digits", batch_size=0), "batch_size must be at least"),
        (lambda: alexnet.Predictor(trained, "gpu"), "device must be auto, cpu or cuda, not 'gpu'"),
        (lambda: alexnet.AlexNet("paper", 0), "num_classes must be at least 1, not 0"),
        (lambda: CifarNet("cifar-18", 0), "num_classes must be at least 1, not 0"),
    ):
        with pytest.raises(alexnet.UserError, match=line):
            mistake()


def test_a_home_is_found(
    trained: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(trained.parent))
    assert alexnet.load("~/run").classes == ("blue", "green", "red")
    assert alexnet.resume("~/run")["run"] == str(trained)
    with pytest.raises(alexnet.UserError, match=f"{trained} exists already"):
        alexnet.train("digits", out="~/run")
    monkeypatch.setenv("HOME", str(image_folder))
    [answer] = alexnet.Predictor(trained)("~/val/red/000.png")
    assert answer.path == str(image_folder / "val" / "red" / "000.png")
    config = resolve_config("~", None, TINY)
    assert config.data.source == str(image_folder)
