"""Opening prepared sets: fast, lazily, and damaged ones in one line."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lookalikes
import numpy as np
import pytest
from lookalikes import pictures

from alexnet.data.images import load_square
from alexnet.data.prepare import prepare
from alexnet.data.prepared import describe_prepared, holds_prepared, open_prepared, verify
from alexnet.data.sources import open_source
from alexnet.errors import UserError


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return lookalikes.write_ilsvrc(tmp_path_factory.mktemp("source"), pictures(2010))


@pytest.fixture(scope="module")
def original(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("original") / "set"
    prepare(source, out, size=32, workers=1, shard_images=7)
    return out


@pytest.fixture
def prepared(original, tmp_path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(original, tmp_path / "set")


def test_records_by_number_from_many_threads(original, source):
    source, opened = open_source(str(source)), open_prepared(original)
    assert list(opened.train.keys) == list(source.train.keys)
    assert [opened.train.keys[i] for i in (0, 7, 25, -1)] == [
        source.train.keys[i] for i in (0, 7, 25, -1)
    ]
    assert opened.train.keys[5:9] == source.train.keys[5:9]
    with pytest.raises(IndexError):
        opened.train.keys[26]
    assert opened.train.labels.tolist() == source.train.labels.tolist()
    assert opened.train.labels.dtype == np.int64
    once = [opened.train.read(i) for i in range(26)]
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(26), 20)).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(opened.train.read, order)) == [once[i] for i in order]
    expected = load_square(source.train.read(12), 32).astype(int)
    assert np.abs(load_square(once[12], 32) - expected).mean() < 12


def test_statistics_come_along(prepared):
    statistics = open_prepared(prepared).statistics
    assert statistics is not None
    assert statistics.mean_image.shape == (32, 32, 3)
    vectors = statistics.components.vectors
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-12)


def test_taking_some(prepared):
    train = open_prepared(prepared).train
    some = train.take(np.array([20, 3]))
    assert [some.read(0), some.read(1)] == [train.read(20), train.read(3)]
    assert some.keys == [train.keys[20], train.keys[3]]


def test_a_sound_set_is_verified(prepared):
    verify(prepared)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["train-00002-of-00004.arrow", "mean.npy"])
def test_a_flipped_bit_is_found(prepared, name):
    flip(prepared / name)
    with pytest.raises(UserError, match=f"{name} is missing or damaged .its checksum differs"):
        verify(prepared)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def blank(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", [Path.unlink, cut, blank])
@pytest.mark.parametrize("name", ["train-00002-of-00004.arrow", "mean.npy"])
def test_damage_is_one_line_when_opening(prepared, name, damage):
    damage(prepared / name)
    with pytest.raises(UserError, match=f"{name} is missing or damaged") as caught:
        open_source(str(prepared))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ("{}", "is damaged"),
        ('{"format": 99}', "is of format 99"),
        ('{"format": 1, "classes": []}', "is damaged"),
    ],
)
def test_a_damaged_manifest_is_one_line(prepared, content, complaint):
    (prepared / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=complaint) as caught:
        open_prepared(prepared)
    assert "\n" not in str(caught.value)


def test_other_folders_are_no_prepared_sets(tmp_path, image_folder):
    assert not holds_prepared(tmp_path)
    assert not holds_prepared(image_folder)


def test_a_manifest_of_another_program_among_images_makes_no_prepared_set(new_image_folder):
    folder = new_image_folder()
    (folder / "manifest.json").write_text('{"name": "a page of pictures"}')
    assert not holds_prepared(folder)
    assert open_source(str(folder)).kind == "folder"


def test_description(prepared):
    description = describe_prepared(prepared)
    document = json.loads(json.dumps(description.to_json()))
    assert document["images"] == 39
    assert document["path"] == str(prepared)
    assert document["splits"]["validation"]["images"] == 8
    assert document["year"] == 2010
    text = "\n".join(description.lines())
    for expected in ("ILSVRC-2010: 4 classes, 39 images of 32x32", "JPEG, quality 95", "train"):
        assert expected in text
