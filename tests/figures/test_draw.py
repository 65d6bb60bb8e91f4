"""Every figure of a small run, for both kinds of network."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet import AlexNet
from alexnet.errors import UserError
from alexnet.figures import draw as draw_module
from alexnet.figures.draw import draw
from alexnet.figures.kernels import columns_in_words
from alexnet.figures.style import new_figure, shorten
from alexnet.model.changes import resized
from alexnet.model.variants import VARIANTS
from alexnet.model.weights import save_weights
from alexnet.training import run as training_run
from alexnet.training.run import train

_NAMES = ["kernels", "kernel-colors", "predictions", "neighbors", "neighbors-pixels", "evidence",
          "activations", "statistics", "training"]  # fmt: skip
_QUICK = (
    "train.steps=3",
    "train.log_every_steps=1",
    "train.batch_size=8",
    "train.alarm=false",
    "train.precision=fp32",
)
_NETS = {
    "columns": ("default", "model.width=0.03125", "model.image_size=64", "data.size=72"),
    "cifar": ("cifar-18", "model.width=0.25", "data.size=32"),
}


@pytest.fixture(scope="module", params=list(_NETS))
def drawn(
    request: pytest.FixtureRequest, image_folder: Path, tmp_path_factory: pytest.TempPathFactory
):  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp(request.param)
    recipe, *changes = _NETS[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run, "write_run_report", lambda *arguments: None)
        train(str(image_folder), recipe, folder / "run", (*_QUICK, *changes))
    result = draw(folder / "run", folder / "out", images=4)
    return request.param, folder / "out", result


def test_every_figure_is_a_picture_and_a_drawing(drawn: tuple[str, Path, dict]) -> None:  # type: ignore[type-arg]
    kind, out, result = drawn
    expected = [n for n in _NAMES if not (kind == "cifar" and n == "kernel-colors")]
    assert result["figures"] == expected
    for name in expected:
        with Image.open(out / f"{name}.png") as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert pixels.std() > 5, name  # not empty
        svg = (out / f"{name}.svg").read_text(encoding="utf-8")
        assert "</svg>" in svg


def test_the_page_opens_offline_and_says_how_to_read_it(drawn: tuple[str, Path, dict]) -> None:  # type: ignore[type-arg]
    _, out, result = drawn
    page = (out / "index.html").read_text(encoding="utf-8")
    assert not re.search(r'src="(?!data:)', page)
    assert re.findall(r'href="([^"]*)"', page) == [f"{name}.svg" for name in result["figures"]]
    for name in result["figures"]:
        assert f'<section id="{name}">' in page
        assert (out / f"{name}.svg").exists()
    assert "top-1 error" in page


def test_names_are_no_formulas() -> None:
    figure = new_figure(1.0, 1.0)
    figure.text(0.5, 0.5, shorten("$5_$10"))
    figure.canvas.draw()  # matplotlib would refuse it as mathematics
    assert shorten("x" * 30, 9) == "xxxxxxxx…"


def test_names_in_any_script_are_drawn_without_a_word(tmp_path: Path) -> None:
    figure = new_figure(1.0, 1.0)
    figure.text(0.5, 0.5, "猫")
    draw_module._save(tmp_path, ("cats", "", "", figure))
    assert "猫" in (tmp_path / "cats.svg").read_text()


def test_words_about_the_columns() -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.normal(size=(8, 1, 3, 3)), 3, axis=1)
    noise = rng.normal(size=(8, 3, 3, 3))
    assert "column b is the more colourful" in columns_in_words(np.concatenate([grey, noise]))
    assert "do not differ measurably" in columns_in_words(np.concatenate([noise, noise]))


def test_the_users_picture_and_stages(
    drawn: tuple[str, Path, dict],  # type: ignore[type-arg]
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not a validation image and the ReLUs."""
    _, out, _ = drawn
    shown = {}
    monkeypatch.setattr(draw_module, "_SHEETS", (draw_module._activations,))
    monkeypatch.setattr(
        draw_module, "maps_figure", lambda *given: shown.update(given=given) or new_figure(1, 1)
    )
    picture = image_folder / "val" / "red" / "003.png"
    draw(out.parent / "run", tmp_path, picture=picture, stages=("conv2", "pool1"))
    seen, maps, _ = shown["given"]
    assert list(maps) == ["conv2", "pool1"]
    assert all(stage.ndim == 3 for stage in maps.values())
    assert seen[..., 2].mean() > seen[..., 1].mean() + 50  # the third class, the third channel


@pytest.mark.parametrize(("stage", "picture", "message"), [
    ("fc6", None, "unknown stage with maps 'fc6'"),
    ("conv1", "nothing.jpg", "cannot read the picture nothing.jpg"),
])  # fmt: skip
def test_what_cannot_be_looked_at(
    drawn: tuple[str, Path, dict],  # type: ignore[type-arg]
    tmp_path: Path,
    stage: str,
    picture: str | None,
    message: str,
) -> None:
    _, out, _ = drawn
    looked_at = None if picture is None else Path(picture)
    with pytest.raises(UserError, match=message):
        draw(out.parent / "run", tmp_path, picture=looked_at, stages=(stage,))


def test_a_run_that_began_with_another_which_is_gone(
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And with fewer training images than neighbours to show, one of which cannot be read."""
    few = tmp_path / "few"
    for split, count in (("train", 2), ("val", 1)):
        for name in ("blue", "red"):
            (few / split / name).mkdir(parents=True)
            for path in sorted((image_folder / split / name).iterdir())[:count]:
                shutil.copy(path, few / split / name)
    monkeypatch.setattr(training_run, "write_run_report", lambda *arguments: None)
    monkeypatch.setattr(draw_module, "_SHEETS", (draw_module._neighbors, draw_module._statistics))
    changes = (*_QUICK, *_NETS["columns"][1:])
    train(str(few), "default", tmp_path / "base", changes)
    train(str(few), out=tmp_path / "run", assignments=_QUICK, init=tmp_path / "base")
    shutil.rmtree(tmp_path / "base")
    (few / "train" / "red" / "empty.png").touch()
    capsys.readouterr()
    result = draw(tmp_path / "run", tmp_path / "out", images=2)
    assert result["figures"] == ["neighbors", "neighbors-pixels", "statistics"]
    assert "skipped train/red/empty.png: empty file" in capsys.readouterr().err
    page = (tmp_path / "out" / "index.html").read_text()
    assert "weights now" in page


def test_what_the_user_can_mend(tmp_path: Path, image_folder: Path) -> None:
    with pytest.raises(UserError, match="--data DATA"):
        draw(tmp_path, tmp_path / "out")
    diverged = AlexNet(resized(VARIANTS["paper"], 1 / 32, 64), 3)
    diverged.classes, diverged.stored_size = ("blue", "green", "red"), 72
    torch.nn.init.constant_(diverged.fc8.bias, torch.nan)
    (tmp_path / "diverged").mkdir()
    save_weights(tmp_path / "diverged" / "weights.safetensors", diverged)
    with pytest.raises(UserError, match="it diverged"):
        draw(tmp_path / "diverged", tmp_path / "out", str(image_folder))
    with pytest.raises(UserError, match="holds no weights"):
        draw(tmp_path, tmp_path / "out", str(image_folder))
    with pytest.raises(UserError, match="lies among the images"):
        draw(tmp_path / "diverged", image_folder / "train" / "figures", str(image_folder))
    assert not (image_folder / "train" / "figures").exists()
