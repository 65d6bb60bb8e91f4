"""Prediction: on files and on pictures in memory, with a network that is made ready once."""

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet import AlexNet
from alexnet.errors import UserError
from alexnet.evaluation import evaluate, predict
from alexnet.evaluation.inference import Answer, answering
from alexnet.evaluation.predict import Predictor, image_files
from alexnet.model.build import Network
from alexnet.model.changes import resized
from alexnet.model.variants import VARIANTS
from alexnet.model.weights import save_weights
from alexnet.parallel.world import World


def test_the_network_is_made_ready_once(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def counted(model: Network, world: World) -> Answer:
        made.append(world.precision)
        return answering(model, world)

    monkeypatch.setattr(predict, "_BATCH", 4)
    monkeypatch.setattr(predict, "answering", counted)
    monkeypatch.setattr(evaluate, "answering", counted)
    model = AlexNet(resized(VARIANTS["paper"], 1 / 32, 64), num_classes=3)
    monkeypatch.setattr(predict, "load", lambda place: model)
    predictor = Predictor("run", "cpu")
    several = predictor(image_folder / "val" / "blue", top=1)
    again = predictor(image_folder / "val" / "blue", top=1)
    assert len(several) == 10
    assert several == again
    assert len(made) == 1


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    weights = tmp_path / "weights.safetensors"
    save_weights(weights, AlexNet(resized(VARIANTS["paper"], 1 / 32, 64), 2))
    return Predictor(weights, "cpu")


def test_a_path_with_nothing_there_keeps_no_other_from_its_answer(
    predictor: Predictor, image_folder: Path, tmp_path: Path
) -> None:
    first, second = sorted((image_folder / "val" / "blue").iterdir())[:2]
    (tmp_path / "empty").mkdir()
    given = [first, tmp_path / "no.jpg", tmp_path / "empty", second]
    entries = predictor(given)
    assert [entry.path for entry in entries] == [str(path) for path in given]
    errors = [entry.error or "" for entry in entries]
    assert [bool(error) for error in errors] == [False, True, True, False]
    assert "no file or folder" in errors[1]
    assert "holds no image" in errors[2]
    assert entries[3].classes == predictor(second)[0].classes
    with pytest.raises(UserError, match=r"there is no file or folder .*no\.jpg"):
        predictor(given[1:3])


def test_a_folder_has_the_images_that_it_has_for_training(
    predictor: Predictor, tmp_path: Path
) -> None:
    """Those behind links, none in hidden folders; what is no file is left for its entry to say."""
    for name in (
        "other/1.png",
        "pictures/0.png",
        "pictures/.thumbs/2.png",
        "pictures/dir.png/3.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    pictures = tmp_path / "pictures"
    (pictures / "linked").symlink_to(tmp_path / "other")
    os.mkfifo(pictures / "pipe.png")
    found = [str(path.relative_to(pictures)) for path in image_files(pictures)]
    assert found == ["0.png", "dir.png/3.png", "linked/1.png", "pipe.png"]
    assert predictor(pictures / "pipe.png")[0].error == "no regular file"


def test_a_picture_in_memory_is_answered_as_its_file(predictor: Predictor, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 130, 4), dtype=np.uint8)
    for name, kept in (("rgb.png", pixels[..., :3]), ("rgba.png", pixels), ("gray.png", pixels[0])):
        Image.fromarray(kept).save(tmp_path / name)
    files = [tmp_path / name for name in ("rgb.png", "rgba.png", "gray.png")]
    from_files = predictor(files)
    of_pil = predictor([Image.open(BytesIO(file.read_bytes())) for file in files])
    assert [entry.classes for entry in of_pil] == [entry.classes for entry in from_files]
    [of_array], [of_file] = predictor(pixels[..., :3]), predictor(files[0])
    assert of_array.classes == of_file.classes
    assert of_array.path == "[0]"
    mixed = predictor([str(files[0]), pixels[..., :3]])
    assert [entry.path for entry in mixed] == [str(files[0]), "[1]"]


def test_a_picture_in_memory_may_be_bad(predictor: Predictor, tmp_path: Path) -> None:
    Image.new("RGB", (90, 90), "red").save(tmp_path / "cut.png")
    cut = BytesIO((tmp_path / "cut.png").read_bytes()[:60])
    entries = predictor([Image.open(cut), Image.new("F", (9, 9))])
    assert entries[0].error is not None
    assert entries[1].error == "32 bits a channel, whose range is not known"


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (7, "int"),
        ([b"x"], "bytes"),
        (torch.zeros(1, 3, 64, 64), "Tensor"),
        (np.zeros((64, 64, 3)), r"float64 array of shape \(64, 64, 3\)"),
        (np.zeros((3, 64, 64), np.uint8), "uint8 array of shape"),
        (np.zeros((0, 64, 3), np.uint8), "uint8 array of shape"),
    ],
)
def test_what_is_no_picture_is_refused(predictor: Predictor, given: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=f"a picture is the path .* not: {kind}"):
        predictor(given)


def test_at_least_one_class_is_named(predictor: Predictor) -> None:
    with pytest.raises(UserError, match="top must be at least 1, not 0"):
        predictor(np.zeros((64, 64, 3), np.uint8), top=0)
