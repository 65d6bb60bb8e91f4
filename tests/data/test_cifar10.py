"""CIFAR-10 from look-alike archives of both versions, and from none."""

import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data import cifar10
from alexnet.data.cifar10 import CLASSES, open_cifar10
from alexnet.data.images import decode
from alexnet.data.sources import open_source
from alexnet.errors import UserError
from alexnet.files import cache_folder

COUNT = 4  # images a batch, where the real ones have 10,000
BATCHES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """(6, COUNT, 32, 32, 3) pixels and (6, COUNT) labels, as they must be read back."""
    rng = np.random.default_rng(10)
    pixels = rng.integers(0, 256, (len(BATCHES), COUNT, 32, 32, 3), dtype=np.uint8)
    return pixels, rng.integers(0, 10, (len(BATCHES), COUNT))


def planes(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(0, 3, 1, 2).reshape(len(pixels), 3072)


def binary_files() -> dict[str, bytes]:
    """The binary version: for each image its label, then its red, green and blue planes."""
    pixels, labels = pictures()
    files = {"batches.meta.txt": "\n".join(CLASSES).encode() + b"\n\n", "readme.html": b"<html>"}
    for name, its_pixels, its_labels in zip(BATCHES, pixels, labels, strict=True):
        records = (
            bytes([n]) + p.tobytes() for n, p in zip(its_labels, planes(its_pixels), strict=True)
        )
        files[f"{name}.bin"] = b"".join(records)
    return {f"cifar-10-batches-bin/{name}": content for name, content in files.items()}


class Python2Pickler(pickle._Pickler):
    """Writes byte strings as Python 2 wrote its `str`; the real batches are such pickles."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + len(value).to_bytes(4, "little") + value)

    def save_bool(self, value: bool) -> None:
        self.write(pickle.BININT1 + bytes([value]))  # the NumPy of then had integers for flags

    dispatch[bytes] = save_bytes
    dispatch[bool] = save_bool


def python2_pickle(value: object) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def python_files() -> dict[str, bytes]:
    """The Python version: a pickled dictionary for each batch."""
    pixels, labels = pictures()
    files = {"batches.meta": python2_pickle({b"label_names": [n.encode() for n in CLASSES]})}
    for name, its_pixels, its_labels in zip(BATCHES, pixels, labels, strict=True):
        batch = {
            b"batch_label": f"batch {name}".encode(),
            b"labels": its_labels.tolist(),
            b"data": planes(its_pixels),
            b"filenames": [b"frog_s_%06d.png" % i for i in range(COUNT)],
        }
        files[name] = python2_pickle(batch)
    return {f"cifar-10-batches-py/{name}": content for name, content in files.items()}


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def unpack(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def md5(path: Path) -> str:
    return "md5:" + hashlib.md5(path.read_bytes()).hexdigest()


def check(source) -> None:
    """The source gives the very pictures, under the names both versions share."""
    pixels, labels = pictures()
    assert (source.name, source.kind, source.mirror) == ("cifar10", "cifar10", True)
    assert source.classes == CLASSES
    assert len(source.train) == 5 * COUNT
    assert source.train.keys[COUNT] == "data_batch_2/00000.png"
    assert source.validation.keys[1] == "test_batch/00001.png"
    for split, its_pixels, its_labels in (
        (source.train, pixels[:5].reshape(-1, 32, 32, 3), labels[:5].ravel()),
        (source.validation, pixels[5], labels[5]),
    ):
        assert split.labels.dtype == np.int64
        np.testing.assert_array_equal(split.labels, its_labels)
        for i in range(len(split)):
            np.testing.assert_array_equal(np.asarray(decode(split.read(i))), its_pixels[i])


def test_classes_are_alphabetical_as_class_folders_would_be():
    assert list(CLASSES) == sorted(CLASSES)
    assert len(CLASSES) == 10


@pytest.mark.parametrize("files", [binary_files, python_files])
def test_archives_read_back_exactly(tmp_path, files):
    path = pack(tmp_path / "cifar.tar.gz", files())
    check(open_cifar10(path, checksums=[md5(path)]))


@pytest.mark.parametrize("files", [binary_files, python_files])
def test_unpacked_batches_read_back_exactly(tmp_path, files):
    folder = unpack(tmp_path, files())
    check(open_source(str(folder)))
    inner = next(path for path in folder.iterdir() if path.is_dir())
    check(open_source(str(inner)))


def test_a_pickle_of_numpy_2_reads_too(tmp_path):
    _, labels = pictures()
    files = python_files()
    again = {b"data": planes(pictures()[0][0]), b"labels": labels[0].tolist()}
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(again)
    assert b"numpy._core" in file.getvalue()
    files["cifar-10-batches-py/data_batch_1"] = file.getvalue()
    check(open_source(str(unpack(tmp_path, files))))


def test_class_folders_give_the_same_labels(tmp_path):
    pixels, labels = pictures()
    for b, name in enumerate(BATCHES):
        for i in range(COUNT):
            place = tmp_path / ("val" if b == 5 else "train") / CLASSES[labels[b, i]]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[b, i]).save(place / f"{name}_{i}.png")
    for name in CLASSES:  # a class that these few pictures lack
        place = tmp_path / "train" / name
        place.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32)).save(place / "black.png")
    source = open_source(str(tmp_path))
    assert source.classes == CLASSES
    for split, batches in ((source.train, range(5)), (source.validation, [5])):
        found = {Path(key).stem: i for i, key in enumerate(split.keys)}
        for b in batches:
            for i in range(COUNT):
                k = found[f"{BATCHES[b]}_{i}"]
                assert split.labels[k] == labels[b, i]
                np.testing.assert_array_equal(np.asarray(decode(split.read(k))), pixels[b, i])


def test_an_archive_that_is_not_the_official_one_is_refused(tmp_path):
    path = pack(tmp_path / "cifar-10-binary.tar.gz", binary_files())
    with pytest.raises(UserError, match="is not an official CIFAR-10 archive or is damaged"):
        open_source(str(path))


def test_one_changed_byte_is_noticed(tmp_path):
    path = pack(tmp_path / "cifar-10-binary.tar.gz", binary_files())
    checksum = md5(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="its checksum differs"):
        open_cifar10(path, checksums=[checksum])


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_cannot_do_anything(tmp_path):
    trap = tmp_path / "sprung"
    pickle.loads(pickle.dumps(Touch(trap), protocol=2))
    assert trap.exists()  # so the trap works
    trap.rmdir()
    for hostile in (Touch(trap), {b"data": Touch(trap), b"labels": [1]}):
        files = python_files()
        files["cifar-10-batches-py/data_batch_3"] = pickle.dumps(hostile, protocol=2)
        folder = unpack(tmp_path / "data", files)
        message = r"the batch data_batch_3 is damaged \(it asks for \w+\.(mkdir|encode)\)"
        with pytest.raises(UserError, match=message):
            open_source(str(folder))
    assert not trap.exists()


def damaged(name: str, content: bytes) -> dict[str, bytes]:
    return {**binary_files(), f"cifar-10-batches-bin/{name}.bin": content}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (damaged("data_batch_2", b""), r"batch data_batch_2 is damaged \(0 bytes is no whole"),
        (damaged("test_batch", bytes(3072)), r"test_batch is damaged \(3072 bytes is no whole"),
        (damaged("data_batch_1", b"\x0a" + bytes(3072)), "a label is not one of 0 to 9"),
        (
            {**python_files(), "cifar-10-batches-py/test_batch": python2_pickle({b"labels": []})},
            r"test_batch is damaged \(b'data'\)",
        ),
        (
            {**python_files(), "cifar-10-batches-py/test_batch": b"\x80\x02}q"},
            "test_batch is damaged",
        ),
        (
            {
                **python_files(),
                "cifar-10-batches-py/test_batch": python2_pickle(
                    {b"labels": [1, 2], b"data": np.zeros((2, 3071), np.uint8)}
                ),
            },
            r"test_batch is damaged \(its data is no array of images\)",
        ),
    ],
)
def test_damaged_batches_are_named(tmp_path, files, message):
    with pytest.raises(UserError, match=message) as caught:
        open_source(str(unpack(tmp_path, files)))
    assert "\n" not in str(caught.value)


def test_a_missing_batch_is_named(tmp_path):
    files = binary_files()
    del files["cifar-10-batches-bin/data_batch_4.bin"]
    with pytest.raises(UserError, match="lacks the batch data_batch_4"):
        open_source(str(unpack(tmp_path, files)))


def test_a_broken_archive_is_one_line_even_with_the_right_checksum(tmp_path):
    path = pack(tmp_path / "cifar.tar.gz", binary_files())
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"^cannot read .*; download it again from"):
        open_cifar10(path, checksums=[md5(path)])
    path.write_bytes(b"no archive at all")
    with pytest.raises(UserError, match=r"^cannot read .*; download it again from"):
        open_cifar10(path, checksums=[md5(path)])


def test_the_name_opens_the_archive_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path))
    path = pack(tmp_path / "cifar-10-binary.tar.gz", binary_files())
    monkeypatch.setattr(cifar10, "BINARY_MD5", md5(path))
    monkeypatch.setattr(cifar10, "URL", "http://127.0.0.1:9/nobody-listens-here")
    check(open_source("cifar10"))


def test_the_name_downloads_into_the_cache(tmp_path, monkeypatch, capsys):
    path = pack(tmp_path / "official.tar.gz", binary_files())
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cifar10, "BINARY_MD5", md5(path))
    monkeypatch.setattr(cifar10, "URL", path.as_uri())  # test_download.py has the network's part
    check(open_source("cifar10"))
    assert (tmp_path / "cache" / "cifar-10-binary.tar.gz").read_bytes() == path.read_bytes()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("CIFAR-10: ")


def test_offline_the_name_says_where_the_file_belongs(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(cifar10, "URL", "http://127.0.0.1:9/cifar-10-binary.tar.gz")
    with pytest.raises(UserError, match=r"^cannot download http") as caught:
        open_source("cifar10")
    assert f"put the file there yourself ({tmp_path / 'cifar-10-binary.tar.gz'})" in str(
        caught.value
    )
    assert "or give its path" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_cache_is_in_the_home_folder_unless_it_is_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ALEXNET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder() == tmp_path / ".cache" / "alexnet"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "large"))
    assert cache_folder() == tmp_path / "large" / "alexnet"
    monkeypatch.setenv("ALEXNET_CACHE", "~/elsewhere")
    assert cache_folder() == tmp_path / "elsewhere"
