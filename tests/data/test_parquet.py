"""Parquet files as the Hugging Face hub ships image sets."""

import json
from concurrent.futures import ThreadPoolExecutor

import lookalikes
import numpy as np
import pyarrow as pa
import pytest
from lookalikes import WNIDS, pictures
from pyarrow import parquet

from alexnet.data.parquet import open_parquet
from alexnet.data.sources import open_source
from alexnet.errors import UserError


def write_table(path, rows, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows, **options), path)
    return path


def row(content, path, label):
    return {"image": {"bytes": content, "path": path}, "label": label}


def test_rows_names_and_splits(tmp_path):
    images = pictures(2010)
    source = open_source(str(lookalikes.write_parquet(tmp_path, images)))
    assert source.kind == "parquet"
    assert source.classes == tuple(sorted(WNIDS))
    for split, expected in (
        (source.train, images.train),
        (source.validation, images.validation),
        (source.test, images.test),
    ):
        assert split is not None
        assert [key.partition("/")[2] for key in split.keys] == [p.name for p in expected]
        assert [source.classes[label] for label in split.labels] == [p.wnid for p in expected]
        assert [split.read(i) for i in range(len(split))] == [p.content for p in expected]


def test_threads_read_in_any_order(tmp_path):
    images = pictures(2010)
    train = open_parquet(lookalikes.write_parquet(tmp_path, images)).train
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(train)), 10))
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(train.read, order.tolist()))
    assert contents == [images.train[i].content for i in order]


def test_hidden_labels_are_left_out(tmp_path):
    """The test images of ImageNet are on the hub with the label -1."""
    rows = [row(bytes([i]), None, i % 2) for i in range(6)]
    write_table(tmp_path / "train-00000-of-00001.parquet", rows)
    write_table(tmp_path / "validation-00000-of-00001.parquet", rows[:2])
    write_table(tmp_path / "test-00000-of-00001.parquet", [row(b"x", None, -1)])
    source = open_parquet(tmp_path)
    assert source.test is None
    assert source.notes == ("1 test images have no label and are left out",)
    assert source.classes == ("0", "1")
    assert list(source.train.keys) == [f"train/{i:08d}" for i in range(6)]


def test_a_single_file_is_split_by_content(tmp_path):
    rows = [row(bytes([i]), f"{i}.png", i % 2) for i in range(20)]
    source = open_source(str(write_table(tmp_path / "all.parquet", rows)))
    assert len(source.train) + len(source.validation) == 20
    assert len(source.validation) > 0
    assert set(source.train.keys).isdisjoint(source.validation.keys)
    for split in (source.train, source.validation):
        for i, key in enumerate(split.keys):
            assert split.read(i) == bytes([int(key.removeprefix("train/").removesuffix(".png"))])


def test_other_column_names(tmp_path):
    """CIFAR-10 on the hub has `img`, and a bare `label`; CIFAR-100 `fine_label`."""
    rows = [{"img": {"bytes": bytes([i]), "path": None}, "fine_label": i % 3} for i in range(30)]
    write_table(tmp_path / "train.parquet", rows)
    write_table(tmp_path / "test.parquet", rows[:5])
    source = open_parquet(tmp_path)
    assert source.train.labels.tolist() == [i % 3 for i in range(30)]
    assert source.validation.read(4) == bytes([4])
    assert "the labels are the column 'fine_label'" in source.notes


def write_columns(path, label_class, **integers):
    """Twelve images beside columns of integers, of which one may be known as the label."""
    names = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    noted = json.dumps({"info": {"features": {label_class: names} if label_class else {}}})
    rows = [
        {"image": {"bytes": bytes([i]), "path": None}}
        | {name: values[i % len(values)] for name, values in integers.items()}
        for i in range(12)
    ]
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": noted})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
    return path


@pytest.mark.parametrize(
    ("label_class", "columns", "chosen"),
    [
        ("kind", ("width", "label", "kind"), "kind"),
        (None, ("width", "label"), "label"),
        (None, ("kind",), "kind"),
    ],
)
def test_the_label_is_what_the_metadata_says_or_what_is_called_so(
    tmp_path, label_class, columns, chosen
):
    integers = {name: [0, 1] if name == chosen else [80, 81, 82] for name in columns}
    source = open_parquet(write_columns(tmp_path / "all.parquet", label_class, **integers))
    labels = {*source.train.labels.tolist(), *source.validation.labels.tolist()}
    assert labels == {0, 1}
    assert source.classes == (("cat", "dog") if label_class else ("0", "1"))
    assert bool(source.notes) == (chosen != "label")


def test_which_of_several_columns_is_the_label_is_not_guessed(tmp_path):
    path = write_columns(tmp_path / "all.parquet", None, width=[80, 81], kind=[0, 1])
    with pytest.raises(UserError, match="may be the labels: width, kind; call the one"):
        open_parquet(path)


def test_the_conversion_of_the_hub_has_a_folder_a_split(tmp_path):
    rows = [row(bytes([i]), None, i % 2) for i in range(6)]
    write_table(tmp_path / "default" / "train" / "0000.parquet", rows[:4])
    write_table(tmp_path / "default" / "train" / "0001.parquet", rows[4:])
    write_table(tmp_path / "default" / "validation" / "0000.parquet", rows[:2])
    source = open_source(str(tmp_path / "default"))
    assert [source.train.read(i) for i in range(6)] == [bytes([i]) for i in range(6)]
    assert len(source.validation) == 2
    with pytest.raises(UserError, match=r"give .*default instead"):
        open_source(str(tmp_path))


def test_paths_without_images_are_refused(tmp_path):
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("label", pa.int64())])
    rows = [row(None, f"{i}.png", i % 2) for i in range(6)]
    path = write_table(tmp_path / "all.parquet", rows, schema=schema)
    with pytest.raises(UserError, match="holds the paths of its images, not the images"):
        open_parquet(path)


def test_an_image_that_is_only_a_path_is_empty(tmp_path):
    rows = [row(None if i == 1 else bytes([i]), f"{i}.png", i % 2) for i in range(4)]
    write_table(tmp_path / "train.parquet", rows)
    write_table(tmp_path / "val.parquet", rows)
    assert open_parquet(tmp_path).train.read(1) == b""


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{"image": b"bytes only", "label": 1}], "has no column of images"),
        ([{"image": {"bytes": b"x", "path": "x"}, "label": "cat"}], "has no column of images"),
    ],
)
def test_other_tables_are_refused(tmp_path, rows, complaint):
    with pytest.raises(UserError, match=complaint):
        open_parquet(write_table(tmp_path / "train.parquet", rows))


def test_a_label_beyond_the_classes_is_refused(tmp_path):
    images = pictures(2010)
    folder = lookalikes.write_parquet(tmp_path, images)
    write_table(folder / "data" / "validation-00000-of-00001.parquet", [row(b"x", "x", 4)])
    with pytest.raises(UserError, match="none of its 4 classes"):
        open_parquet(folder)


def cut(content: bytes) -> bytes:
    return content[:-100]


def blank_columns(content: bytes) -> bytes:
    """The end, where the columns are described, stays as it is."""
    return content[:4] + bytes(len(content) - 2004) + content[-2000:]


@pytest.mark.parametrize("damage", [cut, blank_columns])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, damage):
    folder = lookalikes.write_parquet(tmp_path, pictures(2010))
    path = folder / "data" / "train-00001-of-00002.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        UserError, match=f"cannot read .*{path.name}.*; get the file again"
    ) as caught:
        open_parquet(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["test", "validation"])
def test_a_file_without_rows_is_no_split(tmp_path, name):
    folder = lookalikes.write_parquet(tmp_path, pictures(2010))
    path = folder / "data" / f"{name}-00000-of-00001.parquet"
    parquet.write_table(parquet.read_table(path).slice(0, 0), path)
    source = open_parquet(folder)
    assert source.test is None
    assert len(source.validation) == {"test": 8, "validation": 5}[name]


def test_training_files_without_rows_are_refused(tmp_path):
    folder = lookalikes.write_parquet(tmp_path, pictures(2010))
    for path in (folder / "data").glob("train-*"):
        parquet.write_table(parquet.read_table(path).slice(0, 0), path)
    with pytest.raises(UserError, match="has no training images"):
        open_parquet(folder)


def test_validation_files_alone_are_refused(tmp_path):
    write_table(tmp_path / "validation.parquet", [row(b"x", None, 0)])
    with pytest.raises(UserError, match="has no training images"):
        open_parquet(tmp_path)
