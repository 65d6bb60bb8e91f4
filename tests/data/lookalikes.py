"""Look-alikes of everything images come in, all built from the same pictures.

The archives of ILSVRC-2010 and -2012 with their development kits, what they unpack to, Kaggle's
copy, Parquet files as on the Hugging Face hub, CSV lists, and image folders.
"""

import csv
import gzip
import io
import json
import shutil
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

# In the order of their class numbers, which is not that of sorted identifiers: as in both kits.
WNIDS = ("n07711080", "n02119789", "n01440764", "n03126707")
WORDS = ("french fries, chips", "kit fox, Vulpes macrotis", "crane", "crane")
ANCESTOR = "n00001740"
COUNTS = (5, 6, 7, 8)  # training images of each class


@dataclass(frozen=True)
class Picture:
    """An encoded image that knows what it shows."""

    wnid: str
    name: str  # the file's, "n07711080_12.JPEG" or "ILSVRC2010_val_00000001.JPEG"
    content: bytes


@dataclass(frozen=True)
class Pictures:
    """A small ILSVRC. `numbers` are the classes of a kit by number."""

    year: int
    train: tuple[Picture, ...]
    validation: tuple[Picture, ...]
    test: tuple[Picture, ...] = ()


def draw(label: int, seed: int, width: int = 48, height: int = 40) -> Image.Image:
    """A picture whose colours say its class, and whose noise makes it one of its kind."""
    rng = np.random.default_rng([label, seed])
    colors = np.array([[200, 60, 40], [60, 180, 70], [50, 80, 210], [190, 180, 60]])
    pixels = rng.integers(-30, 31, (height, width, 3)) + colors[label]
    return Image.fromarray(pixels.astype(np.uint8))


def jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def pictures(year: int) -> Pictures:
    """Four classes; file numbers have no fixed width, and some members are gzip'd."""
    train = []
    for label, wnid in enumerate(WNIDS):
        for index in range(COUNTS[label]):
            content = jpeg(draw(label, index))
            zipped = gzip.compress(content, mtime=0) if index == 3 else content
            train.append(Picture(wnid, f"{wnid}_{index * 37 + 5}.JPEG", zipped))

    def numbered(split: str, labels: list[int], seed: int) -> tuple[Picture, ...]:
        return tuple(
            Picture(
                WNIDS[label],
                f"ILSVRC{year}_{split}_{number:08d}.JPEG",
                jpeg(draw(label, seed + number)),
            )
            for number, label in enumerate(labels, start=1)
        )

    test = numbered("test", [1, 1, 0, 3, 2], 2000) if year == 2010 else ()
    validation = numbered("val", [2, 0, 3, 3, 1, 0, 2, 1], 1000)
    return Pictures(year, tuple(train), validation, test)


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    """An uncompressed tar file, or a compressed one if the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def meta_mat(year: int, wnids: tuple[str, ...] = WNIDS, words: tuple[str, ...] = WORDS) -> bytes:
    """As in the kits: the classes, then an ancestor of them all."""
    from scipy.io import savemat

    rows = [*zip(wnids, words, strict=True), (ANCESTOR, "entity")]
    synsets = np.zeros(
        (len(rows), 1),
        dtype=[(f"ILSVRC{year}_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")],
    )
    for row, (wnid, name) in enumerate(rows):
        children = len(wnids) if wnid == ANCESTOR else 0
        synsets[row, 0] = (float(row + 1), wnid, name, float(children))
    file = io.BytesIO()
    savemat(file, {"synsets": synsets})
    return file.getvalue()


def truth(wnids: list[str], order: tuple[str, ...] = WNIDS) -> bytes:
    return "".join(f"{order.index(wnid) + 1}\n" for wnid in wnids).encode()


def kit_files(images: Pictures) -> dict[str, bytes]:
    """The files of a development kit, by their place inside it."""
    labels = truth([picture.wnid for picture in images.validation])
    return {
        "data/meta.mat": meta_mat(images.year),
        f"data/ILSVRC{images.year}_validation_ground_truth.txt": labels,
        "readme.txt": b"a look-alike",
    }


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_kit(folder: Path, images: Pictures, unpacked: bool = False) -> None:
    name, inside = {
        2010: ("ILSVRC2010_devkit-1.0.tar.gz", "devkit-1.0"),
        2012: ("ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_devkit_t12"),
    }[images.year]
    files = {f"{inside}/{path}": content for path, content in kit_files(images).items()}
    if unpacked:
        write_files(folder, files)
    else:
        write_tar(folder / name, files)


def by_class(train: tuple[Picture, ...]) -> dict[str, dict[str, bytes]]:
    classes: dict[str, dict[str, bytes]] = {}
    for picture in train:
        classes.setdefault(picture.wnid, {})[picture.name] = picture.content
    return classes


def write_archives(folder: Path, images: Pictures, prefixed: bool = False) -> Path:
    """The image archives of one year; members have a folder before their names or not."""
    kind = {2010: "images", 2012: "img"}[images.year]

    def place(split: str) -> Path:
        return folder / f"ILSVRC{images.year}_{kind}_{split}.tar"

    def before(split: str) -> str:
        return f"{split}/" if prefixed else ""

    nested = {
        f"{before('train')}{wnid}.tar": tar(files)
        for wnid, files in sorted(by_class(images.train).items())
    }
    write_tar(place("train"), nested)
    for split, its_images in (("val", images.validation), ("test", images.test)):
        if its_images:
            files = {before(split) + p.name: p.content for p in its_images}
            write_tar(place(split), dict(sorted(files.items(), reverse=prefixed)))
    if images.test:
        labels = truth([picture.wnid for picture in images.test])
        (folder / f"ILSVRC{images.year}_test_ground_truth.txt").write_bytes(labels)
    return folder


def write_ilsvrc(folder: Path, images: Pictures, prefixed: bool = False) -> Path:
    """Archives and kit."""
    write_kit(folder, images, unpacked=prefixed)
    return write_archives(folder, images, prefixed)


def write_tree(folder: Path, images: Pictures) -> Path:
    """What the archives unpack to, beside the kit."""
    write_kit(folder, images, unpacked=True)
    write_files(folder / "val", {p.name: p.content for p in images.validation})
    write_files(folder / "test", {p.name: p.content for p in images.test})
    if images.test:
        labels = truth([picture.wnid for picture in images.test])
        (folder / f"ILSVRC{images.year}_test_ground_truth.txt").write_bytes(labels)
    return write_files(
        folder / "train", {f"{p.wnid}/{p.name}": p.content for p in images.train}
    ).parent


def write_half_unpacked(folder: Path, images: Pictures) -> Path:
    """The tree after one `tar -x`: archives of classes, one of them in a folder, one unpacked."""
    write_tree(folder, images)
    for number, (wnid, files) in enumerate(by_class(images.train).items()):
        inside = folder / "train" / wnid
        if number == 0:
            inside.rename(folder / "train" / "moved")
            (folder / "train/deeper").mkdir()
            (folder / "train" / "moved").rename(folder / "train/deeper" / wnid)
            continue
        shutil.rmtree(inside)
        write_tar(folder / "train" / ("deeper" if number == 1 else "") / f"{wnid}.tar", files)
    return folder


def write_kaggle(folder: Path, images: Pictures) -> Path:
    inside = folder / "ILSVRC/Data/CLS-LOC"
    write_files(inside / "train", {f"{p.wnid}/{p.name}": p.content for p in images.train})
    write_files(inside / "val", {p.name: p.content for p in images.validation})
    mapping = sorted(zip(WNIDS, WORDS, strict=True))
    text = "".join(f"{wnid} {words}\n" for wnid, words in mapping)
    (folder / "LOC_synset_mapping.txt").write_text(text)
    with (folder / "LOC_val_solution.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageId", "PredictionString"])
        for p in reversed(images.validation):  # Kaggle's is in no particular order
            rows.writerow([p.name.removesuffix(".JPEG"), f"{p.wnid} 1 2 30 40 {p.wnid} 5 5 9 9"])
    return folder


def write_folder(folder: Path, images: Pictures) -> Path:
    for split, its_images in (("train", images.train), ("val", images.validation)):
        write_files(folder / split, {f"{p.wnid}/{p.name}": p.content for p in its_images})
    return folder


def write_list(folder: Path, images: Pictures) -> Path:
    rows = []
    for split, its_images in (
        ("train", images.train),
        ("val", images.validation),
        ("test", images.test),
    ):
        write_files(folder / "files" / split, {p.name: p.content for p in its_images})
        rows += [(f"files/{split}/{p.name}", p.wnid, split) for p in its_images]
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return folder / "list.csv"


def write_parquet(folder: Path, images: Pictures) -> Path:
    """Two files for training, in row groups of four, class names in the order of identifiers."""
    import pyarrow as pa
    from pyarrow import parquet

    names = sorted(WNIDS)
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    schema = pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("label", pa.int64()),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    files = {
        "train-00000-of-00002": images.train[:9],
        "train-00001-of-00002": images.train[9:],
        "validation-00000-of-00001": images.validation,
        "test-00000-of-00001": images.test,
    }
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, its_images in files.items():
        rows = [
            {"image": {"bytes": p.content, "path": p.name}, "label": names.index(p.wnid)}
            for p in its_images
        ]
        table = pa.Table.from_pylist(rows, schema=schema)
        parquet.write_table(table, folder / "data" / f"{name}.parquet", row_group_size=4)
    return folder


def without_gzip(images: Pictures) -> Pictures:
    """The same pictures, each member as a plain file."""

    def plain(picture: Picture) -> Picture:
        content = picture.content
        unzipped = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
        return replace(picture, content=unzipped)

    return replace(images, train=tuple(map(plain, images.train)))
