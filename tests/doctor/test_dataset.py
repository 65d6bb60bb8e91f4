"""A data set: every fault is put in on purpose and named; without one the doctor is silent."""

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.sources import open_source
from alexnet.data.statistics import Components, Statistics
from alexnet.doctor import dataset
from alexnet.doctor.dataset import examine_data, judge_data
from alexnet.doctor.pictures import corruption
from alexnet.doctor.sample import nearest, take_sample
from alexnet.errors import UserError
from alexnet.findings import Finding
from broken_runs import Labelled, digits, write_folder


@pytest.fixture(scope="module")
def splits() -> tuple[Labelled, Labelled]:
    return digits(300, 60)


@pytest.fixture(scope="module")
def healthy(splits: tuple[Labelled, Labelled], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("digits") / "pictures", *splits)


@pytest.fixture
def folder(healthy: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(healthy, tmp_path / "pictures"))


def findings(folder: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine_data(str(folder)).findings}


def images(folder: Path, split: str) -> list[Path]:
    return sorted((folder / split).rglob("*.png"))


def test_the_healthy_are_left_in_peace(healthy: Path) -> None:
    diagnosis = examine_data(str(healthy))
    assert diagnosis.findings == []
    assert diagnosis.facts["grayscale_share"] == 1.0
    assert diagnosis.facts["shorter_side"] == [8, 8, 8]
    assert diagnosis.facts["smaller_than_network_share"] == 1.0
    assert diagnosis.facts["label_agreement_of_neighbours"] > 0.8
    assert "healthy" in diagnosis.lines()[0]


def test_embedded_digits_and_photographs_are_healthy(shared_data: Path) -> None:
    assert examine_data("digits").findings == []
    assert examine_data(str(shared_data / "imagenette-mini")).findings == []


def leak_bytes(folder: Path) -> None:
    for path in images(folder, "val")[:6]:
        shutil.copy(path, folder / "train" / path.parent.name / f"copy-{path.name}")


def leak_looks(folder: Path) -> None:
    """The same pictures, stored in another format."""
    for path in images(folder, "val")[:6]:
        target = folder / "train" / path.parent.name / f"copy-{path.stem}.bmp"
        Image.open(path).save(target)


def test_leaks_and_contradictions_are_found_outside_the_samples(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where 5,000 of 100,000 training images are looked at."""
    leak_bytes(folder)
    whole = findings(folder)["validation-leaks"].cause
    contradict(folder)
    (folder / "train" / "0" / "empty.png").touch()
    (folder / "val" / "1" / "empty.png").touch()  # alike, but no leak
    monkeypatch.setattr(dataset, "TRAIN_LIMIT", 15)
    monkeypatch.setattr(dataset, "VALIDATION_LIMIT", 5)
    found = findings(folder)
    assert "6 of 60 validation images (10.0%)" in whole
    assert "6 byte for byte" in whole
    assert "at least 6 of 61 validation images (likely" in found["validation-leaks"].cause
    assert "20 training images" in found["contradicting-labels"].cause


def cut(folder: Path) -> None:
    for path in images(folder, "train")[::2]:
        path.write_bytes(path.read_bytes()[:40])


def flatten(folder: Path) -> None:
    for path in images(folder, "train")[::4]:
        Image.new("L", (8, 8), 90).save(path)


def contradict(folder: Path) -> None:
    for path in images(folder, "train")[:20]:
        other = str((int(path.parent.name) + 1) % 10)
        shutil.copy(path, folder / "train" / other / f"again-{path.name}")


def shuffle(folder: Path) -> None:
    paths = images(folder, "train")
    contents = [path.read_bytes() for path in paths]
    for path, index in zip(paths, np.random.default_rng(0).permutation(len(paths)), strict=True):
        path.write_bytes(contents[index])


def dominate(folder: Path) -> None:
    for label in range(1, 10):
        for path in sorted((folder / "train" / str(label)).iterdir())[3:]:
            path.unlink()
    pixels = np.asarray(Image.open(images(folder, "train")[0]))
    for number in range(400):
        other = pixels.copy()
        other[number % 8, number // 8 % 8] ^= 1 + number // 64
        Image.fromarray(other).save(folder / "train" / "0" / f"more-{number}.png")


def lay_on_side(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in images(folder, "train")[::8]:
        Image.open(path).save(path, exif=exif)


@pytest.mark.parametrize(
    ("spoil", "name", "severity"),
    [
        (leak_bytes, "validation-leaks", "error"),
        (leak_looks, "validation-leaks", "error"),
        (cut, "unreadable-images", "error"),
        (flatten, "corrupted-images", "error"),
        (contradict, "contradicting-labels", "error"),
        (shuffle, "labels-say-nothing", "note"),
        (dominate, "one-class-dominates", "error"),
        (lay_on_side, "rotated-images", "warning"),
    ],
)
def test_each_fault_is_named(
    folder: Path, spoil: Callable[[Path], None], name: str, severity: str
) -> None:
    spoil(folder)
    found = findings(folder)
    assert found[name].severity == severity
    assert found[name].mend


def scene(folder: Path, per_class: int, noise: float) -> Path:
    """A camera that looks at one thing, with and without a small mark on it."""
    rng = np.random.default_rng(0)
    still = np.kron(rng.uniform(30, 225, (8, 8)), np.ones((8, 8)))
    for label in ("good", "marked"):
        (folder / label).mkdir(parents=True)
        for number in range(per_class):
            picture = still + rng.normal(0, noise, still.shape)
            if label == "marked":
                row, column = rng.integers(0, 60, 2)
                picture[row : row + 4, column : column + 4] += 60
            pixels = picture.clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


def test_a_scene_that_stays_has_contrast_and_no_leak(tmp_path: Path) -> None:
    assert list(findings(scene(tmp_path / "camera", 60, 4.0))) == ["alike-images"]


def test_a_class_of_empty_pictures_is_no_damage(folder: Path) -> None:
    for split, count in (("train", 30), ("val", 6)):
        (folder / split / "empty").mkdir()
        for number in range(count):
            grey = Image.new("L", (8, 8), 60 + number + count)
            grey.save(folder / split / "empty" / f"{number}.png")
    found = findings(folder)
    assert list(found) == ["corrupted-images"]
    assert found["corrupted-images"].severity == "note"
    assert "'empty'" in found["corrupted-images"].cause


def delete_the_copies(folder: Path) -> None:
    for path in (folder / "train").rglob("copy-*"):
        path.unlink()


def delete_val(folder: Path) -> None:
    shutil.rmtree(folder / "val")


def take_their_lines_out(folder: Path) -> None:
    lines = (folder / "list.csv").read_text().splitlines()
    (folder / "list.csv").write_text("\n".join(line for line in lines if "/copy-" not in line))


def listed(folder: Path) -> Path:
    """The same images as a list."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
    lines = [f"{path},{path.parent.name},{path.parts[0]}" for path in paths]
    (folder / "list.csv").write_text("\n".join(lines))
    return folder / "list.csv"


@pytest.mark.parametrize(
    ("leak", "of", "mend", "apply"),
    [
        (leak_looks, Path, "delete them on one side", delete_the_copies),
        (leak_bytes, Path, "delete them on one side, or delete val/ and", delete_the_copies),
        (leak_bytes, Path, "delete val/ and let alexnet split by content", delete_val),
        (leak_bytes, listed, "take their lines on one side out of the list", take_their_lines_out),
    ],
)
def test_the_mend_of_leaks_helps(
    folder: Path,
    leak: Callable[[Path], None],
    of: Callable[[Path], Path],
    mend: str,
    apply: Callable[[Path], None],
) -> None:
    leak(folder)
    data = of(folder)
    assert mend in findings(data)["validation-leaks"].mend
    apply(folder)
    assert "validation-leaks" not in findings(data)


def test_val_is_not_to_be_deleted_where_test_would_take_its_place(folder: Path) -> None:
    leak_bytes(folder)
    shutil.copytree(folder / "val", folder / "test")
    assert findings(folder)["validation-leaks"].mend == "delete them on one side"


@pytest.mark.parametrize(
    ("kind", "is_prepared", "leaks", "unreadable", "corrupted"),
    [
        (
            "parquet",
            False,
            "leave their rows out of one side",
            "download or copy them anew, or leave their rows out",
            "download or convert them anew, or leave their rows out",
        ),
        ("csv", True, *3 * ("mend the source and prepare it anew",)),
        ("folder", True, *3 * ("mend the source and prepare it anew",)),
    ],
)
def test_images_of_other_sources_are_not_deleted(
    folder: Path, kind: str, is_prepared: bool, leaks: str, unreadable: str, corrupted: str
) -> None:
    """They are rows of a file, or lie in shards that are made of another source."""
    leak_bytes(folder)
    flatten(folder)
    for path in images(folder, "train")[1::4]:
        path.write_bytes(b"")
    nothing = np.zeros((8, 8, 3), np.float32)
    known = Statistics(nothing, Components(np.eye(3), np.ones(3))) if is_prepared else None
    source = replace(open_source(str(folder)), kind=kind, statistics=known)
    train, validation = (take_sample(split, 400, "") for split in (source.train, source.validation))
    mends = {finding.name: finding.mend for finding in judge_data(source, train, validation)}
    assert mends["validation-leaks"] == leaks
    assert mends["unreadable-images"] == unreadable
    assert mends["corrupted-images"] == corrupted


def test_photographs_that_are_not_read_are_told(folder: Path) -> None:
    (folder / "train" / "stray.png").touch()
    found = findings(folder)
    assert list(found) == ["left-out-images"]
    assert found["left-out-images"].severity == "warning"
    for number in range(39):
        (folder / "train" / "3" / f"{number}.heic").touch()
    found = findings(folder)
    assert list(found) == ["left-out-images"]
    assert found["left-out-images"].severity == "error"
    assert found["left-out-images"].cause == (
        "40 of 400 images are in no split: 39 .heic files are not read, 1 images lie beside the "
        "class folders (train/stray.png …)"
    )
    assert found["left-out-images"].mend == (
        "export them as JPEG and move each into the folder of its class"
    )


def test_kinds_of_corruption(splits: tuple[Labelled, Labelled]) -> None:
    rng = np.random.default_rng(0)
    smooth = np.asarray(
        Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)).resize((32, 32), 3)
    )
    broken = smooth.copy()
    broken[20:] = 128
    pictures = [smooth, broken, np.full((32, 32), 128), rng.integers(0, 256, (32, 32))]
    thumbnails = np.stack([np.repeat(p[..., None], 3, 2) for p in pictures]).astype(np.uint8)
    assert corruption(thumbnails) == ["", "cut off", "flat", "noise"]


def test_a_truncated_jpeg_that_another_program_saved_again_is_seen() -> None:
    """Its lower part is middle grey; the decoder of the package would refuse the original."""
    rng = np.random.default_rng(1)
    picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((256, 256), 3)
    file = io.BytesIO()
    picture.save(file, "JPEG")
    grey = np.asarray(picture).copy()
    grey[150:] = 128
    thumbnail = np.asarray(Image.fromarray(grey).resize((32, 32), Image.Resampling.BOX))
    assert corruption(thumbnail[None]) == ["cut off"]


def test_nearest_against_a_plain_loop() -> None:
    rng = np.random.default_rng(2)
    known = rng.normal(100, 20, (40, 12)).astype(np.float32)
    queries = rng.normal(100, 20, (7, 12)).astype(np.float32)
    index, distance = nearest(queries, known)
    for row, query in enumerate(queries.astype(np.float64)):
        expected = [float(np.sqrt(((query - k) ** 2).mean())) for k in known.astype(np.float64)]
        assert index[row] == int(np.argmin(expected))
        assert distance[row] == pytest.approx(min(expected), rel=1e-4)
    own, apart = nearest(known, known, same=True)
    assert not np.any(own == np.arange(len(known)))
    assert apart.min() > 0


def test_links_that_lead_nowhere_are_images_that_cannot_be_read(folder: Path) -> None:
    for path in images(folder, "train")[::2]:
        path.unlink()
        path.symlink_to(folder / "gone.png")
    shutil.rmtree(folder / "val" / "7")
    diagnosis = examine_data(str(folder))
    (found,) = diagnosis.findings
    assert (found.name, found.severity) == ("unreadable-images", "error")
    assert diagnosis.facts["unreadable"] == 150
    assert diagnosis.facts["looked_at"] == 300 + len(images(folder, "val"))
    assert diagnosis.facts["notes"] == ["val/ has no images of class '7'"]


def test_few_that_are_rotated_are_a_note_and_broken_exif_is_none(folder: Path) -> None:
    exif = Image.Exif()
    for path, orientation in zip(images(folder, "train"), (1, 6, 8, 9), strict=False):
        exif[0x0112] = orientation
        Image.open(path).save(path, exif=exif)
    Image.open(path).convert("RGB").save(path, exif=b"Exif\0\0not a TIFF header")
    found = findings(folder)["rotated-images"]
    assert found.severity == "note"
    assert found.cause.startswith("2 of 360 images say that they are rotated")


def test_what_cannot_be_opened_is_a_finding_and_what_is_not_there_an_error(folder: Path) -> None:
    (folder / "train" / "empty").mkdir()
    diagnosis = examine_data(str(folder))
    (found,) = diagnosis.findings
    assert (found.name, found.severity) == ("cannot-be-opened", "error")
    assert "class 'empty' has no images" in found.cause
    assert found.mend == "add some or remove the folder"
    assert any("cannot-be-opened" in line for line in diagnosis.lines())
    with pytest.raises(UserError, match="no such file or folder"):
        examine_data(str(folder / "gone"))
