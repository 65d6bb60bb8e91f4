"""Both years of ILSVRC, however they are stored: right labels, right pixels, one order."""

import gzip
from dataclasses import replace
from pathlib import Path

import lookalikes
import numpy as np
import pytest
from lookalikes import WNIDS, Picture, Pictures, pictures

from alexnet.data.devkit import read_devkit
from alexnet.data.ilsvrc import OFFICIAL_COUNTS, ilsvrc_year
from alexnet.data.images import decode, load_square
from alexnet.data.sources import Source, Split, open_source
from alexnet.errors import UserError

LAYOUTS = {
    "archives": lookalikes.write_ilsvrc,
    "prefixed": lambda folder, images: lookalikes.write_ilsvrc(folder, images, prefixed=True),
    "tree": lookalikes.write_tree,
    "half unpacked": lookalikes.write_half_unpacked,
}


def wnid_by_name(source: Source, split: Split) -> dict[str, str]:
    """What a split says each file shows."""
    names = [key.rpartition("/")[2] for key in split.keys]
    return {n: source.class_ids[label] for n, label in zip(names, split.labels, strict=True)}


def truth(images: tuple[Picture, ...]) -> dict[str, str]:
    return {picture.name: picture.wnid for picture in images}


def contents(split: Split) -> dict[str, bytes]:
    return {key.rpartition("/")[2]: split.read(i) for i, key in enumerate(split.keys)}


@pytest.mark.parametrize("year", [2010, 2012])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_are_class_numbers_minus_one(tmp_path, year, layout):
    images = pictures(year)
    LAYOUTS[layout](tmp_path, images)
    source = open_source(str(tmp_path))
    assert (source.kind, source.year, source.name) == (f"ilsvrc{year}", year, f"ILSVRC-{year}")
    assert source.class_ids == WNIDS  # not sorted
    assert source.classes[:2] == lookalikes.WORDS[:2]
    assert source.classes[2:] == ("crane (n01440764)", "crane (n03126707)")
    assert wnid_by_name(source, source.train) == truth(images.train)
    assert wnid_by_name(source, source.validation) == truth(images.validation)
    if year == 2010:
        assert source.test is not None
        assert wnid_by_name(source, source.test) == truth(images.test)
    else:
        assert source.test is None
    for split, expected in (
        (source.train, images.train),
        (source.validation, images.validation),
        (source.test, images.test),
    ):
        if split is not None:
            assert contents(split) == {p.name: p.content for p in expected}


@pytest.mark.parametrize("year", [2010, 2012])
def test_all_layouts_have_the_same_keys_in_the_same_order(tmp_path, year):
    opened = []
    for name, write in LAYOUTS.items():
        write(tmp_path / name, pictures(year))
        opened.append(open_source(str(tmp_path / name)))
    for other in opened[1:]:
        for mine, its in (
            (opened[0].train, other.train),
            (opened[0].validation, other.validation),
        ):
            assert list(mine.keys) == list(its.keys)
            assert mine.labels.tolist() == its.labels.tolist()
    assert opened[0].train.keys[0] == f"train/{WNIDS[0]}/{WNIDS[0]}_116.JPEG"
    assert opened[0].train.labels.tolist() == sorted(opened[0].train.labels.tolist())


def test_gzipped_members_are_the_pictures_in_them(tmp_path):
    images = pictures(2010)
    assert any(p.content.startswith(b"\x1f\x8b") for p in images.train)
    train = open_source(str(lookalikes.write_ilsvrc(tmp_path, images))).train
    plain = {p.name: p.content for p in lookalikes.without_gzip(images).train}
    for i, key in enumerate(train.keys):
        expected = np.asarray(decode(plain[key.rpartition("/")[2]]))
        np.testing.assert_array_equal(np.asarray(decode(train.read(i))), expected)


def test_kaggles_copy_is_read_with_its_own_lists(tmp_path):
    images = pictures(2012)
    source = open_source(str(lookalikes.write_kaggle(tmp_path, images)))
    assert (source.kind, source.year) == ("ilsvrc2012", 2012)
    assert source.class_ids == tuple(sorted(WNIDS))
    assert wnid_by_name(source, source.train) == truth(images.train)
    assert wnid_by_name(source, source.validation) == truth(images.validation)
    assert any("order of WordNet identifiers" in note for note in source.notes)


@pytest.mark.parametrize("unpacked", [False, True])
def test_patch_images_replace_those_with_their_name(tmp_path, unpacked):
    images = pictures(2010)
    folder = lookalikes.write_ilsvrc(tmp_path, images)
    before = open_source(str(folder))
    name = images.train[7].name
    patches = {
        f"patch_images/train/{name}": b"for training",
        "patch_images/val/ILSVRC2010_val_00000003.JPEG": b"for validation",
        "patch_images/test/ILSVRC2010_test_00000002.JPEG": gzip.compress(b"for test"),
        "patch_images/val/ILSVRC2010_test_00000001.JPEG": b"of the wrong split",
        "patch_images/train/n99999999_1.JPEG": b"of nobody",
    }
    if unpacked:
        lookalikes.write_files(folder, patches)
    else:
        lookalikes.write_tar(folder / "patch_images.tar", patches)
    after = open_source(str(folder))
    assert after.test is not None
    assert before.test is not None
    changed = {}
    for old, new in (
        (before.train, after.train),
        (before.validation, after.validation),
        (before.test, after.test),
    ):
        assert list(old.keys) == list(new.keys)
        assert old.labels.tolist() == new.labels.tolist()
        for i, key in enumerate(new.keys):
            if new.read(i) != old.read(i):
                changed[key.rpartition("/")[2]] = new.read(i)
    assert changed == {
        name: b"for training",
        "ILSVRC2010_val_00000003.JPEG": b"for validation",
        "ILSVRC2010_test_00000002.JPEG": gzip.compress(b"for test"),
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_need_be_unique_in_their_class_only(tmp_path, layout):
    images = pictures(2012)
    renamed = tuple(replace(p, name=p.name.partition("_")[2]) for p in images.train)
    assert len({p.name for p in renamed}) < len(renamed)
    LAYOUTS[layout](tmp_path, replace(images, train=renamed))
    source = open_source(str(tmp_path))
    shown = {
        (source.class_ids[label], key.rpartition("/")[2], source.train.read(i))
        for i, (key, label) in enumerate(
            zip(source.train.keys, source.train.labels.tolist(), strict=True)
        )
    }
    assert shown == {(p.wnid, p.name, p.content) for p in renamed}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at /proc")
def test_archives_of_classes_are_not_held_open(tmp_path):
    """A thousand of them are more than a process may have."""

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    source = open_source(str(lookalikes.write_half_unpacked(tmp_path, pictures(2012))))
    assert all(source.train.read(i) for i in range(len(source.train)))
    assert descriptors() == before


def test_missing_validation_images_do_not_shift_the_labels_of_others(tmp_path):
    images = pictures(2012)
    lookalikes.write_kit(tmp_path, images)
    fewer = Pictures(2012, images.train, images.validation[:2] + images.validation[3:])
    source = open_source(str(lookalikes.write_archives(tmp_path, fewer)))
    assert wnid_by_name(source, source.validation) == truth(fewer.validation)
    assert any(
        note.startswith("val: 7 images, where ILSVRC-2012 has 50000") for note in source.notes
    )


@pytest.mark.parametrize("stray", ["ILSVRC2012_val_00000009.JPEG", "ILSVRC2012_val_thumb.JPEG"])
def test_a_stray_image_in_place_of_a_missing_one_does_not_shift_labels(tmp_path, stray):
    images = pictures(2012)
    lookalikes.write_tree(tmp_path, images)
    (tmp_path / "val" / images.validation[2].name).rename(tmp_path / "val" / stray)
    with pytest.raises(UserError, match=f"8 images but the ground truth 8 lines, none .*{stray}"):
        open_source(str(tmp_path))


def test_images_without_numbers_go_by_name(tmp_path):
    images = pictures(2012)
    lookalikes.write_tree(tmp_path, images)
    for place, picture in enumerate(images.validation):
        (tmp_path / "val" / picture.name).rename(tmp_path / "val" / f"{'abcdefgh'[place]}.JPEG")
    labels = open_source(str(tmp_path)).validation.labels
    assert [WNIDS[label] for label in labels] == [p.wnid for p in images.validation]


@pytest.mark.parametrize("listed", ["all", "some"])
def test_some_of_kaggles_validation_images(tmp_path, listed):
    images = pictures(2012)
    some = Pictures(2012, images.train, images.validation[1::2])
    lookalikes.write_kaggle(tmp_path, some if listed == "some" else images)
    for picture in images.validation[::2]:
        place = tmp_path / "ILSVRC/Data/CLS-LOC/val" / picture.name
        place.unlink(missing_ok=True)
    source = open_source(str(tmp_path))
    assert wnid_by_name(source, source.validation) == truth(some.validation)


def test_counts_that_cannot_be_matched_are_one_clear_error(tmp_path):
    images = pictures(2012)
    lookalikes.write_ilsvrc(tmp_path, images)
    shorter = Pictures(2012, images.train, images.validation[:-1])
    lookalikes.write_kit(tmp_path, shorter)
    with pytest.raises(UserError, match="has 8 images but the ground truth 7 lines"):
        open_source(str(tmp_path))


def test_unofficial_counts_are_said(tmp_path):
    source = open_source(str(lookalikes.write_ilsvrc(tmp_path, pictures(2010))))
    said = "\n".join(source.notes)
    assert "labels are ILSVRC-2010 class numbers minus 1" in said
    for count in OFFICIAL_COUNTS[2010].values():
        assert str(count) in said


def test_the_kit_of_the_other_year_is_refused(tmp_path):
    lookalikes.write_kit(tmp_path, pictures(2012))
    lookalikes.write_archives(tmp_path, pictures(2010))
    with pytest.raises(UserError, match=r"lacks the development kit of 2010 \(the one of 2012 is"):
        open_source(str(tmp_path))


def test_a_class_that_the_kit_does_not_know_is_refused(tmp_path):
    images = pictures(2010)
    stranger = Picture("n99999999", "n99999999_1.JPEG", b"x")
    more = Pictures(2010, (*images.train, stranger), images.validation)
    with pytest.raises(UserError, match=r"n99999999_1\.JPEG in .* is of no class of ILSVRC-2010"):
        open_source(str(lookalikes.write_ilsvrc(tmp_path, more)))


@pytest.mark.parametrize("missing", ["train", "val"])
def test_a_missing_archive_is_named(tmp_path, missing):
    lookalikes.write_ilsvrc(tmp_path, pictures(2010))
    (tmp_path / f"ILSVRC2010_images_{missing}.tar").unlink()
    with pytest.raises(UserError, match=f"lacks .*ILSVRC2010_images_{missing}.tar"):
        open_source(str(tmp_path))


def test_without_the_test_labels_there_is_no_test_split(tmp_path):
    lookalikes.write_ilsvrc(tmp_path, pictures(2010))
    (tmp_path / "ILSVRC2010_test_ground_truth.txt").unlink()
    assert open_source(str(tmp_path)).test is None


@pytest.mark.parametrize("place", [".", "ILSVRC2012_devkit_t12/data"])
def test_labels_for_the_test_images_of_2012_are_not_believed(tmp_path, place):
    """A file of that name goes about; its labels are those of 2010."""
    images = pictures(2012)
    lookalikes.write_tree(tmp_path, images)
    (tmp_path / "test").mkdir()
    for picture in images.validation:
        name = picture.name.replace("val", "test")
        (tmp_path / "test" / name).write_bytes(picture.content)
    labels = lookalikes.truth([picture.wnid for picture in images.validation])
    (tmp_path / place / "ILSVRC2012_test_ground_truth.txt").write_bytes(labels)
    assert open_source(str(tmp_path)).test is None


def test_both_years_in_a_folder_need_a_choice(tmp_path):
    for year in (2010, 2012):
        lookalikes.write_ilsvrc(tmp_path, pictures(year))
    with pytest.raises(UserError, match="holds both years"):
        open_source(str(tmp_path))
    for year in (2010, 2012):
        assert open_source(str(tmp_path), kind=f"ilsvrc{year}").year == year


def test_an_archive_alone_points_to_its_folder(tmp_path):
    lookalikes.write_ilsvrc(tmp_path, pictures(2012))
    with pytest.raises(UserError, match="give the folder that holds them"):
        open_source(str(tmp_path / "ILSVRC2012_img_val.tar"))


def test_folders_of_images_are_not_taken_for_ilsvrc(tmp_path, image_folder):
    assert ilsvrc_year(image_folder) is None
    lookalikes.write_folder(tmp_path, pictures(2012))
    assert open_source(str(tmp_path)).kind == "folder"


# With real pictures and the real kits.


def real_pictures(kit_folder: Path, folder: Path, year: int) -> Pictures:
    """Imagenette's classes under the names that the real kit of a year gives them."""
    kit = read_devkit(kit_folder)
    train, validation = [], []
    for place in sorted((folder / "train").iterdir()):
        if place.name not in kit.wnids:
            continue
        wnid, label = place.name, kit.wnids.index(place.name)
        lines = np.flatnonzero(kit.validation == label) + 1
        for number, file in enumerate(sorted(place.iterdir())):
            train.append(Picture(wnid, f"{wnid}_{number}.JPEG", file.read_bytes()))
        for line, file in zip(lines, sorted((folder / "val" / wnid).iterdir()), strict=False):
            name = f"ILSVRC{year}_val_{line:08d}.JPEG"
            validation.append(Picture(wnid, name, file.read_bytes()))
    return Pictures(year, tuple(train), tuple(validation))


def features(split: Split) -> np.ndarray:
    """Small versions of the pictures, (N, 192), zero mean and unit length."""
    small = np.stack([load_square(split.read(i), 8).ravel() for i in range(len(split))])
    centered = small.astype(float) - small.mean(axis=1, keepdims=True)
    return centered / np.linalg.norm(centered, axis=1, keepdims=True)


def neighbour_accuracy(
    train: np.ndarray, train_labels: np.ndarray, held_out: np.ndarray, labels: np.ndarray
) -> float:
    """How often the five training pictures nearest to a validation picture agree with it."""
    nearest = np.argsort(-(held_out @ train.T), axis=1)[:, :5]
    return float(np.mean(train_labels[nearest] == labels[:, None]))


@pytest.mark.parametrize("year", [2010, 2012])
def test_train_and_validation_labels_agree_on_real_pictures(tmp_path, shared_data, year):
    """The 0.1 % trap: folder order for training and class numbers for validation."""
    kit_folder = shared_data / f"ilsvrc{year}-devkit"
    images = real_pictures(kit_folder, shared_data / "imagenette-mini", year)
    lookalikes.write_archives(tmp_path, images)
    (tmp_path / f"ilsvrc{year}-devkit").symlink_to(kit_folder)
    source = open_source(str(tmp_path))
    assert len(source.classes) == 1000
    classes = {2010: 8, 2012: 10}[year]
    assert (len(source.train), len(source.validation)) == (80 * classes, 20 * classes)

    train, held_out = features(source.train), features(source.validation)
    right = neighbour_accuracy(train, source.train.labels, held_out, source.validation.labels)
    rank = {wnid: place for place, wnid in enumerate(sorted(source.class_ids))}
    by_folder = np.array([rank[source.class_ids[label]] for label in source.train.labels])
    wrong = neighbour_accuracy(train, by_folder, held_out, source.validation.labels)
    assert right > 1.4 / classes
    assert wrong < 0.5 / classes
