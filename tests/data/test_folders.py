"""Image folders: both layouts, the split by content, and everything that is refused."""

import hashlib
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.data.folders import images_in, in_validation, open_folder
from alexnet.data.sources import LeftOut, Source, Split, open_source
from alexnet.errors import UserError


def put(folder: Path, *names: str) -> Path:
    """Files with these names, each with a content of its own: its name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def contents(split: Split) -> dict[str, bytes]:
    return {key: split.read(i) for i, key in enumerate(split.keys)}


def labelled(source: Source, split: Split) -> dict[str, str]:
    return {key: source.classes[label] for key, label in zip(split.keys, split.labels, strict=True)}


def numbered(name: str, count: int) -> list[str]:
    return [f"{name}/{i}.jpg" for i in range(count)]


def test_a_folder_with_its_own_validation_set(tmp_path):
    put(tmp_path, "train/dog/1.jpg", "train/cat/2.JPEG", "train/cat/10.png", "val/dog/7.jpg")
    put(tmp_path, "val/cat/8.jpg", "readme.txt", "annotations/x.xml")
    source = open_folder(tmp_path)
    assert (source.name, source.kind) == (tmp_path.name, "folder")
    assert source.classes == ("cat", "dog")
    assert list(source.train.keys) == ["train/cat/10.png", "train/cat/2.JPEG", "train/dog/1.jpg"]
    assert source.train.labels.tolist() == [0, 0, 1]
    assert source.train.labels.dtype == np.int64
    assert list(source.validation.keys) == ["val/cat/8.jpg", "val/dog/7.jpg"]
    assert (len(source.train), len(source.validation)) == (3, 2)
    assert source.train.read(2) == b"train/dog/1.jpg"
    assert source.mirror
    assert source.notes == ()


@pytest.mark.parametrize("name", ["val", "valid", "validation", "test", "VAL"])
def test_the_validation_folder_goes_by_several_names(tmp_path, name):
    put(tmp_path, "train/a/1.jpg", "train/b/1.jpg", f"{name}/a/1.jpg", f"{name}/b/1.jpg")
    source = open_folder(tmp_path)
    assert list(source.validation.keys) == [f"{name}/a/1.jpg", f"{name}/b/1.jpg"]
    assert bool(source.notes) == (name == "test")  # a test set used so is worth a remark


def test_val_is_preferred_to_test(tmp_path):
    put(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg", "val/a/1.jpg", "val/b/1.jpg")
    source = open_folder(tmp_path)
    assert list(source.validation.keys) == ["val/a/1.jpg", "val/b/1.jpg"]
    assert source.test is not None
    assert labelled(source, source.test) == {"test/a/1.jpg": "a"}
    assert tmp_path / "test/a/1.jpg" in source.files()
    put(tmp_path, "test/stranger/1.jpg")  # other classes, or none: such a folder has no labels
    assert open_folder(tmp_path).test is None


def test_a_validation_set_may_lack_a_class_and_says_so(tmp_path):
    put(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "train/c/1.jpg", "val/c/1.jpg")
    source = open_folder(tmp_path)
    assert source.validation.labels.tolist() == [2]
    assert [re.search("'(.)'", note)[1] for note in source.notes] == ["a", "b"]


def test_a_class_that_a_mac_has_named_is_the_same_class(tmp_path):
    """`Äpfel`, with an Ä of one character and of two."""
    one, two = "\u00c4pfel", "A\u0308pfel"
    put(tmp_path, f"train/{one}/1.jpg", "train/b/1.jpg", f"val/{two}/2.jpg", f"test/{two}/3.jpg")
    source = open_folder(tmp_path)
    assert source.classes == ("b", one)
    assert labelled(source, source.validation) == {f"val/{two}/2.jpg": one}
    assert source.test is not None
    assert labelled(source, source.test) == {f"test/{two}/3.jpg": one}
    put(tmp_path, "val/B/1.jpg")
    with pytest.raises(UserError, match=r"lacks; 'b' differs in case or form only; both"):
        open_folder(tmp_path)


def test_images_may_lie_deeper_and_hidden_files_do_not_exist(tmp_path):
    put(tmp_path, "train/a/deep/er/1.jpg", "train/a/.hidden.jpg", "train/a/.git/2.jpg")
    put(tmp_path, "train/b/x.tiff", "train/b/notes.txt", "train/.cache/3.jpg", "val/a/1.jpg")
    put(tmp_path, "__MACOSX/train/a/._1.jpg")
    source = open_folder(tmp_path)
    assert source.classes == ("a", "b")
    assert list(source.train.keys) == ["train/a/deep/er/1.jpg", "train/b/x.tiff"]


@pytest.mark.parametrize("looks", [Path.is_file, Path.iterdir, os.scandir])
def test_a_folder_that_may_not_be_read_is_one_line(image_folder, monkeypatch, looks):
    """Root may read everything, so the refusal is played."""

    def refused(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os if looks is os.scandir else Path, looks.__name__, refused)
    with pytest.raises(UserError, match=f"cannot read .*{image_folder.name}: Permission denied"):
        open_source(str(image_folder))


def test_links_are_followed_but_not_in_circles(tmp_path):
    put(tmp_path, "far/1.jpg", "data/b/2.jpg", "data/b/3.jpg", "far/4.jpg")
    (tmp_path / "data/a").symlink_to(tmp_path / "far", target_is_directory=True)
    (tmp_path / "data/b/again").symlink_to(tmp_path / "data/b", target_is_directory=True)
    source = open_folder(tmp_path / "data")
    keys = [*source.train.keys, *source.validation.keys]
    assert sorted(keys) == ["a/1.jpg", "a/4.jpg", "b/2.jpg", "b/3.jpg"]
    # One that leads up would bring in the images of the other class.
    (tmp_path / "far/up").symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "data/b/up").symlink_to(tmp_path / "data", target_is_directory=True)
    source = open_folder(tmp_path / "data")
    assert sorted([*source.train.keys, *source.validation.keys]) == sorted(keys)
    assert "b/up" in dict(source.unusable)


def test_without_a_validation_folder_the_content_decides(tmp_path):
    put(tmp_path, *numbered("cat", 300), *numbered("dog", 300))
    source = open_folder(tmp_path, validation_fraction=0.2)
    everything = contents(source.train) | contents(source.validation)
    assert everything == {
        name: name.encode() for name in [*numbered("cat", 300), *numbered("dog", 300)]
    }
    for key, name in (labelled(source, source.train) | labelled(source, source.validation)).items():
        assert key.startswith(name)
    for key, content in everything.items():
        fraction = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
        assert (key in source.validation.keys) == (fraction < 0.2)
    assert 80 < len(source.validation) < 160


def test_train_alone_is_split_by_content(tmp_path):
    put(tmp_path, *numbered("train/cat", 30), *numbered("train/dog", 30))
    source = open_folder(tmp_path)
    assert len(source.train) + len(source.validation) == 60
    assert all(key.startswith("train/") for key in source.train.keys)


def test_the_split_does_not_depend_on_how_the_files_came_to_be(tmp_path):
    names = [*numbered("cat", 40), *numbered("dog", 40)]
    one, other = (open_folder(put(tmp_path / n, *order)) for n, order in
                  (("one", names), ("other", names[::-1])))  # fmt: skip
    assert list(one.train.keys) == list(other.train.keys)
    assert list(one.validation.keys) == list(other.validation.keys)
    assert one.train.labels.tolist() == other.train.labels.tolist()


def test_new_files_do_not_move_old_ones(tmp_path):
    before = open_folder(put(tmp_path, *numbered("cat", 60), *numbered("dog", 60)))
    more = [f"{name}/new{i}.jpg" for name in ("cat", "dog", "bird") for i in range(80)]
    after = open_folder(put(tmp_path, *more))
    assert set(before.train.keys) <= set(after.train.keys)
    assert set(before.validation.keys) <= set(after.validation.keys)


def test_identical_files_share_a_side(tmp_path):
    put(tmp_path, *numbered("cat", 50), *numbered("dog", 50))
    for i in range(50):
        (tmp_path / f"dog/copy{i}.jpg").write_bytes(f"cat/{i}.jpg".encode())
    source = open_folder(tmp_path)
    assert not set(contents(source.train).values()) & set(contents(source.validation).values())


def digest_at(percent: int, owner: int = 0) -> bytes:
    """A digest that lies so far up among all digests."""
    return (percent * 2**64 // 100).to_bytes(8, "big") + bytes(23) + bytes([owner])


@settings(derandomize=True)
@given(
    st.lists(st.sets(st.integers(0, 99), min_size=1, max_size=6), min_size=1, max_size=5),
    st.integers(1, 99),
)
def test_every_class_is_on_both_sides_if_it_can_be(classes, percent):
    labels = np.array([k for k, its in enumerate(classes) for _ in its], dtype=np.int64)
    where = np.array([p for its in classes for p in its])
    flat = [digest_at(p, k) for p, k in zip(where.tolist(), labels.tolist(), strict=True)]
    held_out = in_validation(flat, labels, percent / 100 - 0.005)
    for k in range(len(classes)):
        sides = held_out[labels == k]
        assert not sides.all()
        assert sides.any() == (len(sides) > 1)
        moved = sides != (where[labels == k] < percent)
        assert moved.sum() <= 1  # nothing moves that need not


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([[70, 60]], {60}),
        ([[20, 10]], {10}),
        ([[10]], set()),
        ([[60]], set()),
        # 60 and 40 are shared: moving them would leave the other class with one side only.
        ([[70, 60], [60, 10]], {70, 10}),
        ([[30, 40], [40, 90]], {40}),
    ],
)
def test_the_content_nearest_to_the_threshold_moves_unless_it_is_shared(classes, expected):
    percents = [percent for its in classes for percent in its]
    labels = np.array([k for k, its in enumerate(classes) for _ in its], dtype=np.int64)
    held_out = in_validation([digest_at(p) for p in percents], labels, 0.5)
    assert {p for p, out in zip(percents, held_out.tolist(), strict=True) if out} == expected


@settings(derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=30))
def test_equal_contents_share_a_side_even_across_classes(pairs):
    flat = [hashlib.sha256(bytes([content])).digest() for content, _ in pairs]
    held_out = in_validation(flat, np.array([label for _, label in pairs]), 0.5)
    for content in range(6):
        assert (
            len({h for (c, _), h in zip(pairs, held_out.tolist(), strict=True) if c == content}) < 2
        )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"no images in .*: it is empty; wanted is train/CLASS/\*\.jpg"),
        (["a.csv", "b.txt"], r"only other files \(\.csv, \.txt\), where \.jpg, .* are read"),
        (["1.jpg", "2.jpg"], "the images lie directly in .*; put them into one folder a class"),
        (["cat/1.jpg", "cat/2.jpg"], "has one class only, 'cat'; wanted are two or more"),
        (["train/cat/1.jpg", "val/cat/2.jpg"], "has one class only, 'cat'"),
        (
            ["cat/1.jpg", "dog/1.txt"],
            r"class 'dog' has no images in .*dog: only other files \(\.txt\)",
        ),
        (
            ["train/a/1.jpg", "train/b/.x", "val/a/1.jpg"],
            "class 'b' has no images in .*: it is empty",
        ),
        (
            ["train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg", "val/bee/1.jpg"],
            "val has the class 'bee', which .*train lacks",
        ),
        (["train/a/1.jpg", "train/b/1.jpg", "val/a/1.txt"], "val has no images"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/1.jpg"], "the images lie directly in .*val;"),
        (["train/1.jpg", "val/1.jpg", "val/a/2.jpg"], "the images lie directly in .*train;"),
        (["val/a/1.jpg", "val/b/1.jpg"], "has val/ but no train/"),
        (["data/train/a/1.jpg", "data/val/a/1.jpg"], "itself has no train/, but .*data has; give"),
        (["data/a/1.jpg", "data/b/1.jpg"], "if the folders in it are the classes, give .*data "),
        (["a/1.jpg", "b/2.jpg"], "no class of .* has two different images"),
        (["a/1.jpg", "a/2.heic", "b/2.jpg"], "add images; 1 .heic files are not read; export"),
    ],
)
def test_what_is_no_data_set_is_refused_in_one_line(tmp_path, names, message):
    put(tmp_path, *names)
    with pytest.raises(UserError, match=message) as caught:
        open_folder(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_class_may_be_called_train(tmp_path):
    put(tmp_path, *numbered("train", 20), *numbered("bus", 20))
    assert open_folder(tmp_path).classes == ("bus", "train")


def test_folders_that_systems_leave_are_no_classes(tmp_path):
    left = ("@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX")
    put(tmp_path, *numbered("cat", 5), *numbered("dog", 5), *(f"{name}/1.jpg" for name in left))
    put(tmp_path, "cat/@eaDir/1.jpg")
    assert open_folder(tmp_path).classes == ("cat", "dog")
    assert images_in(tmp_path) == [*numbered("cat", 5), *numbered("dog", 5)]


def test_a_class_that_cannot_be_used_says_why(tmp_path):
    """Rather than that it has only other files, such as .jpg, where .jpg is read."""
    put(tmp_path, *numbered("cat", 5), *numbered("dog", 5), "cat/a.gif")
    (tmp_path / "all").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(UserError, match=r"'all' has no images in .*: a link to a folder that"):
        open_folder(tmp_path)
    (tmp_path / "all").unlink()
    put(tmp_path, "all/.thumbs/1.jpg", "all/1.txt")
    with pytest.raises(UserError, match=r"only other files \(\.txt\), where"):
        open_folder(tmp_path)


def test_images_beside_the_class_folders_are_noted(tmp_path):
    names = [*numbered("cat", 20), *numbered("dog", 20), "stray.jpg", "stray.heic", "readme.txt"]
    source = open_folder(put(tmp_path / "one", *names))
    assert len(source.train) + len(source.validation) == 40
    beside = "images lie beside the class folders (stray.heic …)"
    assert source.left_out == (LeftOut(2, beside, "move each into the folder of its class"),)
    assert source.notes == (f"2 {beside}; move each into the folder of its class",)
    splits = [f"{split}/{name}" for split in ("train", "val", "test") for name in names]
    (left_out,) = open_folder(put(tmp_path / "two", *splits)).left_out
    assert left_out.count == 6
    assert "(train/stray.heic …)" in left_out.what


def test_photographs_in_formats_that_are_not_read_are_counted(tmp_path):
    names = [*numbered("cat", 6), "cat/a.HEIC", "cat/deep/b.heic", *numbered("dog", 6), "dog/c.NEF"]
    source = open_folder(put(tmp_path / "one", *names))
    assert len(source.train) + len(source.validation) == 12
    assert source.unusable == ()
    assert source.notes == (
        "2 .heic files are not read; export them as JPEG",
        "1 .nef files are not read; export them as JPEG",
    )
    assert [part.count for part in source.left_out] == [2, 1]
    splits = [f"{split}/{name}" for split in ("train", "val") for name in names]
    assert "4 .heic files" in open_folder(put(tmp_path / "two", *splits)).notes[0]
    assert "cat/a.HEIC" in images_in(tmp_path / "one")  # predict has an entry for it


def test_an_unreadable_folder_is_one_line(tmp_path, monkeypatch):
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"^cannot read the folder .*: Permission denied$"):
        open_folder(tmp_path)


def test_files_and_folders_that_may_not_be_read_are_listed(tmp_path, monkeypatch):
    """Root may read everything, so the refusal is played."""
    put(tmp_path, *numbered("cat", 9), "cat/deep/1.jpg", *numbered("dog", 9))
    really_opened, really_scanned = Path.open, os.scandir

    def opened(path: Path, *mode: str) -> object:
        if path.name == "3.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return really_opened(path, *mode)

    def scanned(path: Path) -> object:
        if path.name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return really_scanned(path)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(os, "scandir", scanned)
    unusable = dict.fromkeys(("cat/deep", "cat/3.jpg", "dog/3.jpg"), "Permission denied")
    for _ in range(2):  # what is remembered of the first time must not hide them
        source = open_folder(tmp_path)
        assert dict(source.unusable) == unusable
        assert len(source.train) + len(source.validation) == 16
        assert "dog/3.jpg" not in {*source.train.keys, *source.validation.keys}
    for number in {*range(9)} - {3}:
        (tmp_path / f"dog/{number}.jpg").unlink()
    with pytest.raises(UserError, match=r"class 'dog' .*: Permission denied \(dog/3\.jpg\); add"):
        open_folder(tmp_path)


def test_a_file_that_has_gone_is_an_os_error_on_reading(tmp_path):
    put(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg")
    source = open_folder(tmp_path)
    (tmp_path / "train/a/1.jpg").unlink()
    with pytest.raises(OSError, match=r"1\.jpg"):
        source.train.read(0)


def test_open_source_takes_paths(tmp_path):
    put(tmp_path / "pets", *numbered("cat", 30), *numbered("dog", 30))
    source = open_source(str(tmp_path / "pets"), validation_fraction=0.5)
    assert source.name == "pets"
    assert 15 < len(source.validation) < 45


def test_open_source_refuses_what_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="unknown data set 'digit'; did you mean 'digits'"):
        open_source("digit")
    with pytest.raises(UserError, match=r"^no such file or folder: \./pets$"):
        open_source("./pets")
    with pytest.raises(UserError, match="there is no folder 'pets' either"):
        open_source("pets")
    put(tmp_path, "picture.jpg")
    with pytest.raises(UserError, match=r"^picture\.jpg is a file; .* Parquet files, a CSV list"):
        open_source("picture.jpg")


def test_a_folder_that_is_split_is_read_once(tmp_path, monkeypatch):
    for name in ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    read = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: read.append(1) or digest(*given))
    first, second = open_folder(tmp_path), open_folder(tmp_path)
    assert len(read) == 4
    assert list(first.validation.keys) == list(second.validation.keys)
    (tmp_path / "cat/1.jpg").write_bytes(b"another picture")
    open_folder(tmp_path)
    assert len(read) == 5
