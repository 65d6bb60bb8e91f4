"""Preparing: what is written, the same bytes always, and every source the same pixels."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lookalikes
import numpy as np
import pyarrow as pa
import pytest
import torch
from lookalikes import WNIDS, pictures
from PIL import Image

from alexnet.config import Config, override
from alexnet.data import encoded
from alexnet.data.ilsvrc import CHECKSUMS
from alexnet.data.images import BadImage, decode, load_square
from alexnet.data.prepare import prepare
from alexnet.data.sources import Source, Split, open_source
from alexnet.data.sums import sum_images
from alexnet.errors import UserError
from alexnet.parallel.world import World
from alexnet.training.data import load_data

SMALL = {"size": 32, "workers": 1}


def files(folder: Path) -> dict[str, str]:
    """Name → checksum of every file of a set, hidden ones too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def table(folder: Path, split: str) -> pa.Table:
    """All shards of a split, opened by pyarrow alone."""
    parts = [
        pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
        for path in sorted(folder.glob(f"{split}-*.arrow"))
    ]
    return pa.concat_tables(parts)


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    return lookalikes.write_ilsvrc(tmp_path_factory.mktemp("2010"), pictures(2010))


@pytest.fixture(scope="module")
def prepared(archives, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "set"
    prepare(archives, out, **SMALL, shard_images=10)
    return out


def test_the_answer(archives, tmp_path):
    result = prepare(archives, tmp_path / "set", **SMALL)
    assert result.pop("images_per_second") > 0
    assert result == {"out": str(tmp_path / "set"), "images": 39, "classes": 4, "skipped": []}


def test_any_reader_of_arrow_opens_the_shards(archives, prepared):
    source = open_source(str(archives))
    assert sorted(files(prepared)) == [
        "manifest.json",
        "mean.npy",
        "test-00000-of-00001.arrow",
        "train-00000-of-00003.arrow",
        "train-00001-of-00003.arrow",
        "train-00002-of-00003.arrow",
        "validation-00000-of-00001.arrow",
    ]
    for name, split in (("train", source.train), ("validation", source.validation)):
        rows = table(prepared, name).to_pylist()
        assert [row["image"]["path"] for row in rows] == list(split.keys)
        assert [row["label"] for row in rows] == split.labels.tolist()
        for i, row in enumerate(rows):
            with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
                assert (image.format, image.size, image.mode) == ("JPEG", (32, 32), "RGB")
                difference = np.asarray(image).astype(int) - load_square(split.read(i), 32)
            assert np.abs(difference).mean() < 12  # the noise in these pictures is hard to keep


def test_the_columns_are_those_of_hugging_face(prepared):
    schema = table(prepared, "train").schema
    assert str(schema.field("image").type) == "struct<bytes: binary, path: string>"
    assert schema.field("label").type == pa.int64()
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"]["_type"] == "ClassLabel"
    assert features["label"]["names"][:2] == list(lookalikes.WORDS[:2])


def test_datasets_opens_a_shard(prepared, tmp_path, monkeypatch):
    for name in ("HF_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets  # heavy, and it reads the environment once

    opened = datasets.Dataset.from_file(str(prepared / "train-00000-of-00003.arrow"))
    assert opened[3]["image"].size == (32, 32)
    assert opened.features["label"].int2str(opened[3]["label"]) == lookalikes.WORDS[0]


def test_the_manifest_tells_all(archives, prepared):
    manifest = json.loads((prepared / "manifest.json").read_text())
    assert (manifest["kind"], manifest["year"], manifest["format"]) == ("ilsvrc2010", 2010, 1)
    assert manifest["classes"][0] == {"name": "french fries, chips", "wnid": "n07711080"}
    assert [c["wnid"] for c in manifest["classes"]] == list(lookalikes.WNIDS)
    assert manifest["settings"] == {"size": 32, "encoding": "jpeg", "quality": 95}
    train = manifest["splits"]["train"]
    assert (train["images"], train["images_per_class"]) == (26, list(lookalikes.COUNTS))
    assert [shard["images"] for shard in train["shards"]] == [10, 10, 6]
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            content = (prepared / shard["file"]).read_bytes()
            assert shard["bytes"] == len(content)
            assert shard["sha256"] == hashlib.sha256(content).hexdigest()
    assert any("class numbers minus 1" in note for note in manifest["notes"])
    assert str(archives.parent) not in json.dumps(manifest)


def test_statistics_are_exact(archives, prepared):
    train = open_source(str(archives)).train
    squares = (load_square(train.read(i), 32) for i in range(len(train)))
    expected = sum_images(squares, 32).statistics()
    np.testing.assert_array_equal(np.load(prepared / "mean.npy"), expected.mean_image)
    components = json.loads((prepared / "manifest.json").read_text())["components"]
    np.testing.assert_array_equal(components["vectors"], expected.components.vectors)
    np.testing.assert_array_equal(components["deviations"], expected.components.deviations)


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_writes_the_same_bytes(archives, prepared, tmp_path, workers):
    prepare(archives, tmp_path / "set", size=32, workers=workers, shard_images=10)
    assert files(tmp_path / "set") == files(prepared)


def test_raw_pixels_are_kept_exactly(archives, tmp_path):
    prepare(archives, tmp_path / "set", **SMALL, encoding="raw")
    train = open_source(str(archives)).train
    for i, row in enumerate(table(tmp_path / "set", "train").to_pylist()):
        with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
            assert image.format == "PPM"
            np.testing.assert_array_equal(np.asarray(image), load_square(train.read(i), 32))


def test_quality_is_a_choice(archives, prepared, tmp_path):
    prepare(archives, tmp_path / "set", **SMALL, quality=40)
    small, usual = (
        sum(path.stat().st_size for path in folder.glob("*.arrow"))
        for folder in (tmp_path / "set", prepared)
    )
    assert small < 0.8 * usual


# Every source.

WRITERS = {
    "archives": (2010, lookalikes.write_ilsvrc),
    "archives 2012": (2012, lookalikes.write_ilsvrc),
    "prefixed": (2010, lambda folder, images: lookalikes.write_ilsvrc(folder, images, True)),
    "tree": (2010, lookalikes.write_tree),
    "kaggle": (2012, lookalikes.write_kaggle),
    "folder": (2010, lookalikes.write_folder),
    "csv": (2010, lookalikes.write_list),
    "parquet": (2010, lookalikes.write_parquet),
}


def shown(source: Source, split: Split, size: int) -> dict[str, tuple[str, bytes]]:
    """File name → the class it is said to show, and its pixels."""
    ids = source.class_ids or source.classes
    return {
        key.rpartition("/")[2]: (ids[label], load_square(split.read(i), size).tobytes())
        for i, (key, label) in enumerate(zip(split.keys, split.labels, strict=True))
    }


def expected_images(images: tuple[lookalikes.Picture, ...], size: int):
    return {p.name: (p.wnid, load_square(p.content, size).tobytes()) for p in images}


@pytest.mark.parametrize("name", WRITERS)
def test_every_source_shows_the_same_pixels_before_and_after(tmp_path, name):
    year, write = WRITERS[name]
    images = pictures(year)
    path = write(tmp_path / "source", images)
    source = open_source(str(path))
    prepare(path, tmp_path / "set", **SMALL, encoding="raw")
    again = open_source(str(tmp_path / "set"))
    assert (again.classes, again.class_ids) == (source.classes, source.class_ids)
    assert (again.kind, again.year, again.name) == (source.kind, source.year, source.name)
    for opened in (source, again):
        assert shown(opened, opened.train, 32) == expected_images(images.train, 32)
        assert shown(opened, opened.validation, 32) == expected_images(images.validation, 32)
        if images.test and opened.test is not None:
            assert shown(opened, opened.test, 32) == expected_images(images.test, 32)
    assert (again.test is None) == (source.test is None)


def test_digits_stay_digits(tmp_path):
    result = prepare("digits", tmp_path / "set", size=8, encoding="raw", workers=1)
    assert result["images"] == 1797
    source, again = open_source("digits"), open_source(str(tmp_path / "set"))
    assert (again.mirror, again.crop, again.classes) == (source.mirror, source.crop, source.classes)
    for i in (0, 700, len(source.train) - 1):
        expected = np.asarray(decode(source.train.read(i)))
        np.testing.assert_array_equal(np.asarray(decode(again.train.read(i))), expected)


def test_a_prepared_set_can_be_prepared_again(prepared, tmp_path):
    prepare(prepared, tmp_path / "set", size=16, workers=1)
    again = open_source(str(tmp_path / "set"))
    assert list(again.train.keys) == list(open_source(str(prepared)).train.keys)
    assert again.year == 2010


@pytest.mark.parametrize("write", [lookalikes.write_folder, lookalikes.write_list])
def test_a_set_made_of_single_files_can_be_prepared_again(tmp_path, write):
    prepare(write(tmp_path / "source", pictures(2010)), tmp_path / "large", **SMALL)
    prepare(tmp_path / "large", tmp_path / "small", size=16, workers=1)
    large, small = (open_source(str(tmp_path / name)) for name in ("large", "small"))
    assert list(small.train.keys) == list(large.train.keys)


# Awkward files.


def awkward_folder(shared_data: Path, folder: Path) -> Path:
    """Every awkward file as a training image, beside pictures that are none."""
    lookalikes.write_folder(folder, pictures(2010))
    place = folder / "train" / lookalikes.WNIDS[0]
    for path in (shared_data / "awkward").iterdir():
        shutil.copyfile(path, place / path.name)
    return folder


def test_every_awkward_file_is_decoded_or_listed(shared_data, tmp_path):
    source = awkward_folder(shared_data, tmp_path / "source")
    awkward = {path.name: path.read_bytes() for path in (shared_data / "awkward").iterdir()}
    result = prepare(source, tmp_path / "set", **SMALL, encoding="raw")
    reasons = {}
    for name, content in awkward.items():
        try:
            load_square(content, 32)
        except BadImage as error:
            reasons[f"train/{lookalikes.WNIDS[0]}/{name}"] = str(error)
    assert {"empty.jpg", "truncated-small.jpg", "bomb-20000x14000.jpg"} <= {
        key.rpartition("/")[2] for key in reasons
    }
    assert {entry["key"]: entry["reason"] for entry in result["skipped"]} == reasons
    assert result["images"] == 26 + 8 + len(awkward) - len(reasons)
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert manifest["skipped"] == result["skipped"]
    train = open_source(str(tmp_path / "set")).train
    kept = {key.rpartition("/")[2]: i for i, key in enumerate(train.keys)}
    for name, content in awkward.items():
        if name in kept:
            expected = load_square(content, 32)
            np.testing.assert_array_equal(load_square(train.read(kept[name]), 32), expected)


def test_strict_stops_at_the_first(shared_data, tmp_path):
    source = awkward_folder(shared_data, tmp_path / "source")
    with pytest.raises(UserError, match=r"bomb-20000x14000\.jpg: .* pixels is over the limit"):
        prepare(source, tmp_path / "set", **SMALL, strict=True)
    assert prepare(source, tmp_path / "set", **SMALL)["skipped"]  # and this goes on from there


def test_nothing_usable_is_an_error(tmp_path):
    lookalikes.write_folder(tmp_path / "source", pictures(2010))
    for path in (tmp_path / "source" / "val").rglob("*.JPEG"):
        path.write_bytes(path.name.encode())
    with pytest.raises(UserError, match="no validation image of source can be used"):
        prepare(tmp_path / "source", tmp_path / "set", **SMALL)


def test_names_that_are_no_utf_8(tmp_path):
    source = lookalikes.write_folder(tmp_path / "source", pictures(2010))
    for split in ("train", "val"):
        (source / split / WNIDS[0]).rename(source / split / os.fsdecode(b"b\xe9b\xe9"))
    place = source / "train" / os.fsdecode(b"b\xe9b\xe9")
    (place / f"{WNIDS[0]}_5.JPEG").rename(place / f"{WNIDS[0]}_\udcff.JPEG")
    prepare(source, tmp_path / "set", **SMALL, encoding="raw")
    opened, again = open_source(str(source)), open_source(str(tmp_path / "set"))
    for each in (opened, again):
        assert r"b\xe9b\xe9" in each.classes
        assert rf"train/b\xe9b\xe9/{WNIDS[0]}_\xff.JPEG" in list(each.train.keys)
    for split in ("train", "validation"):
        before, after = getattr(opened, split), getattr(again, split)
        assert shown(opened, before, 32) == shown(again, after, 32)


def test_names_in_archives_that_are_no_utf_8(tmp_path):
    images = pictures(2010)
    odd = replace(images.train[0], name=f"{WNIDS[0]}_5\udcff.JPEG")
    source = lookalikes.write_ilsvrc(
        tmp_path / "source", replace(images, train=(odd, *images.train[1:]))
    )
    prepare(source, tmp_path / "set", **SMALL)
    key = rf"train/{WNIDS[0]}/{WNIDS[0]}_5\xff.JPEG"
    assert key in list(open_source(str(tmp_path / "set")).train.keys)


def test_what_is_called_an_image_but_is_no_file_is_listed(tmp_path):
    source = lookalikes.write_folder(tmp_path / "source", pictures(2010))
    place = source / "train" / WNIDS[0]
    (place / "gone.jpg").symlink_to(source / "nowhere.jpg")
    (place / "itself.jpg").symlink_to(place / "itself.jpg")
    os.mkfifo(place / "pipe.jpg")
    result = prepare(source, tmp_path / "set", **SMALL)
    assert result["images"] == 34
    skipped = {entry["key"].rpartition("/")[2]: entry["reason"] for entry in result["skipped"]}
    assert skipped == {
        "gone.jpg": "a link to no file",
        "itself.jpg": "a link to no file",
        "pipe.jpg": "no regular file",
    }
    with pytest.raises(UserError, match=r"gone\.jpg: a link to no file; mend or remove it"):
        prepare(source, tmp_path / "strict", **SMALL, strict=True)


@pytest.mark.parametrize("write", [lookalikes.write_folder, lookalikes.write_ilsvrc])
def test_files_of_any_size_are_not_read(tmp_path, monkeypatch, write):
    source = write(tmp_path / "source", pictures(2010))
    sizes = {picture.name: len(picture.content) for picture in pictures(2010).train}
    largest = max(sizes, key=sizes.__getitem__)
    monkeypatch.setattr(encoded, "MAX_BYTES", sizes[largest] - 1)
    skipped = prepare(source, tmp_path / "set", **SMALL)["skipped"]
    assert largest in {entry["key"].rpartition("/")[2] for entry in skipped}
    assert all("over the limit" in entry["reason"] for entry in skipped)


def test_strict_minds_what_a_finished_set_lacks(tmp_path):
    source = lookalikes.write_folder(tmp_path / "source", pictures(2010))
    (source / "train" / WNIDS[0] / "a.jpg").write_bytes(b"")
    prepare(source, tmp_path / "set", **SMALL)
    with pytest.raises(UserError, match=r"a\.jpg: empty file; mend or remove it"):
        prepare(source, tmp_path / "set", **SMALL, strict=True)


# What is refused.


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"size": 4}, "size=4 is not between"),
        ({"quality": 0}, "quality=0 is not between"),
        ({"workers": 0}, "workers=0 is not between"),
        ({"shard_images": 0}, "shard_images=0 is not between"),
        ({"encoding": "webp"}, "unknown encoding 'webp'"),
        ({"kind": "imagenet"}, "unknown kind of source 'imagenet'"),
    ],
)
def test_options_that_make_no_sense(archives, tmp_path, options, complaint):
    with pytest.raises(UserError, match=complaint):
        prepare(archives, tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()


def test_a_folder_with_other_things_is_left_alone(archives, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="is not empty and no prepared set"):
        prepare(archives, tmp_path, **SMALL)
    assert files(tmp_path).keys() == {"thesis.tex"}


def test_a_set_among_the_class_folders_is_refused(tmp_path):
    lookalikes.write_folder(tmp_path, pictures(2010))
    with pytest.raises(UserError, match="lies among the classes"):
        prepare(tmp_path / "train", tmp_path / "train" / "set", **SMALL)


@pytest.mark.parametrize("write", [lookalikes.write_folder, lookalikes.write_tree])
@pytest.mark.parametrize("place", ["train/set", "val/set", "train"])
def test_a_set_among_the_images_is_refused(tmp_path, write, place):
    write(tmp_path, pictures(2010))
    with pytest.raises(UserError, match="lies among the images in") as caught:
        prepare(tmp_path, tmp_path / place, **SMALL)
    assert "\n" not in str(caught.value)
    assert open_source(str(tmp_path)).kind in ("folder", "ilsvrc2010")


@pytest.mark.parametrize("write", [lookalikes.write_folder, lookalikes.write_ilsvrc])
def test_a_set_beside_the_images_is_known_again(tmp_path, write):
    write(tmp_path, pictures(2010))
    first = prepare(tmp_path, tmp_path / "data", **SMALL)
    assert prepare(tmp_path, tmp_path / "data", **SMALL) == {**first, "images_per_second": 0.0}


# Checksums.


def test_archives_that_are_not_the_published_ones_are_said(tmp_path, capsys):
    source = lookalikes.write_ilsvrc(tmp_path / "source", pictures(2012))
    prepare(source, tmp_path / "set", **SMALL)
    said = capsys.readouterr().err
    notes = json.loads((tmp_path / "set" / "manifest.json").read_text())["notes"]
    for name in CHECKSUMS:
        assert f"{name} is not the official archive" in said
        assert any(note.startswith(f"{name} is not the official archive") for note in notes)
    with pytest.raises(UserError, match="is not the official archive: its checksum is not md5:"):
        prepare(source, tmp_path / "strict", **SMALL, strict=True)


def test_archives_with_the_expected_checksums_pass(tmp_path):
    source = lookalikes.write_ilsvrc(tmp_path / "source", pictures(2012))
    expected = {
        name: f"md5:{hashlib.md5((source / name).read_bytes()).hexdigest()}" for name in CHECKSUMS
    }
    prepare(source, tmp_path / "set", **SMALL, checksums=expected, strict=True)
    prepare(source, tmp_path / "unchecked", **SMALL, checksums=False, strict=True)
    for out in ("set", "unchecked"):
        manifest = (tmp_path / out / "manifest.json").read_text()
        assert "official archive" not in manifest


def test_a_prepared_set_keeps_how_it_was_divided(
    new_image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """What is evaluated later on the original folder is what was held out of training."""
    folder = new_image_folder(count=10) / "train"
    prepare(folder, tmp_path / "set", size=48, workers=1, validation_fraction=0.5)
    world = World(0, 1, torch.device("cpu"), "fp32")
    tiny = ["model.width=0.03125", "model.image_size=48", "data.size=48"]
    config = override(Config(), [f"data.source={tmp_path / 'set'}", *tiny])
    data = load_data(config, world)
    assert data.manifest()["validation_fraction"] == 0.5
    held_out = open_source(str(folder), validation_fraction=0.5).validation
    assert sorted(data.validation.keys) == sorted(held_out.keys)
    with pytest.raises(UserError, match=r"prepared with validation_fraction=0\.5"):
        load_data(override(config, ["data.validation_fraction=0.3"]), world)
