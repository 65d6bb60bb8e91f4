"""CIFAR-10: 60,000 colour images of 32x32 pixels, from the official archives.

Krizhevsky, "Learning multiple layers of features from tiny images" (2009),
https://www.cs.toronto.edu/~kriz/cifar.html. Of the two versions read here the binary one is
downloaded, for it is only numbers; the Python one is a pickle, opened by an unpickler that can make
nothing but arrays. The set as folders of images, a class each, is an image folder like any other.
"""

import pickle
import tarfile
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from alexnet.data.download import console_progress, download, matches
from alexnet.data.images import encode_png
from alexnet.data.sources import Source, Split
from alexnet.errors import UserError, in_a_line
from alexnet.files import cache_folder

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
BINARY_MD5 = "md5:c32a1d4ab5d03f1284b67883e8d87530"
PYTHON_MD5 = "md5:c58f30108f718f92721af3b95e74349a"
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_VALIDATION = ("test_batch",)
_FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")  # what the archives unpack to
_ARCHIVES = (".tar.gz", ".tgz", ".tar")
_PIXELS = 3 * 32 * 32  # of an image: a plane of red, of green, of blue, each row by row
_MAX_BATCH = 64_000_000  # bytes; the official ones have 31 million
_MAX_ARCHIVE = 300_000_000  # bytes; the official ones have 170 million

_Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]  # (N, 3072) pixels, (N,) labels


def holds_cifar10(path: Path) -> bool:
    """Whether a path can only be meant as CIFAR-10: an archive, or a folder with its batches."""
    if path.is_file():
        return path.name.endswith(_ARCHIVES)
    return any((path / name).is_dir() for name in _FOLDERS) or _first_batch(path) is not None


def open_cifar10(
    path: Path | None = None, *, checksums: Sequence[str] = (BINARY_MD5, PYTHON_MD5)
) -> Source:
    """Open CIFAR-10; the official test images are the validation split.

    All versions give the same keys, labels and pixels. Images read as 32x32 RGB PNG.

    Args:
        path: an official archive, or the folder it unpacks to (whose content is not checked
            against a checksum); None downloads the archive into the cache first.
        checksums: what an archive must have, one of them.

    Raises:
        UserError: the archive is another one, a batch is missing or damaged, or the download
            failed.
    """
    if path is None:
        path = _downloaded()
    elif path.is_file() and not _is_official(path, checksums):
        raise UserError(
            f"{path} is not an official CIFAR-10 archive or is damaged (its checksum differs); "
            f"download {URL}, or unpack the file and give the folder"
        )
    files = [path] if path.is_file() else _batch_files(path)
    batches = _read_archive(path) if path.is_file() else _read_files(files)
    return Source(
        name="cifar10",
        kind="cifar10",
        classes=CLASSES,
        train=_split(path, batches, _TRAIN),
        validation=_split(path, batches, _VALIDATION),
        files=lambda: files,
    )


def _is_official(archive: Path, checksums: Sequence[str]) -> bool:
    small_enough = archive.stat().st_size <= _MAX_ARCHIVE  # else hashing alone takes minutes
    return small_enough and any(matches(archive, checksum) for checksum in checksums)


def _downloaded() -> Path:
    archive = cache_folder() / "cifar-10-binary.tar.gz"
    try:
        if archive.is_file() and matches(archive, BINARY_MD5):
            return archive
        with console_progress("CIFAR-10") as progress:
            return download(URL, archive, checksum=BINARY_MD5, progress=progress)
    except UserError as error:
        raise UserError(
            f"{error}; or put the file there yourself ({archive}), or give its path in place of "
            "the name cifar10"
        ) from None


def _split(path: Path, batches: dict[str, bytes], names: Sequence[str]) -> Split:
    """Several batches as one split."""
    keys: list[str] = []
    parts: list[_Batch] = []
    for name in names:
        pixels, labels = _parse(path, batches, name)
        keys += (f"{name}/{i:05d}.png" for i in range(len(labels)))
        parts.append((pixels, labels))
    pixels = np.concatenate([pixels for pixels, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    return Split(keys, labels, lambda i: _png(pixels[i]))


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    planes = pixels.reshape(3, 32, 32)  # (C, H, W)
    return encode_png(np.ascontiguousarray(planes.transpose(1, 2, 0)))


def _read_archive(path: Path) -> dict[str, bytes]:
    """The batches in a tar file, by file name; nothing is unpacked to disk."""
    batches = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if _is_batch(name) and member.isfile() and member.size <= _MAX_BATCH:
                    content = archive.extractfile(member)
                    assert content is not None  # of a plain file
                    batches[name] = content.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        raise UserError(f"cannot read {path}: {reason}; download it again from {URL}") from None
    return batches


def _batch_files(path: Path) -> list[Path]:
    """The batches in a folder, or in the one of the official name inside it."""
    folder = next((path / name for name in _FOLDERS if (path / name).is_dir()), path)
    try:
        return sorted(
            file
            for file in folder.iterdir()
            if _is_batch(file.name) and file.stat().st_size <= _MAX_BATCH
        )
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}") from None


def _read_files(files: Sequence[Path]) -> dict[str, bytes]:
    """The batches, by file name."""
    try:
        return {file.name: file.read_bytes() for file in files}
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from None


def _is_batch(name: str) -> bool:
    return name.removesuffix(".bin") in _TRAIN + _VALIDATION


def _first_batch(folder: Path) -> Path | None:
    found = (folder / (_TRAIN[0] + ending) for ending in (".bin", ""))
    return next((file for file in found if file.is_file()), None)


def _parse(path: Path, batches: dict[str, bytes], name: str) -> _Batch:
    """One batch of either version."""
    parse: Callable[[bytes], _Batch]
    if name + ".bin" in batches:
        content, parse = batches[name + ".bin"], _parse_binary
    elif name in batches:
        content, parse = batches[name], _parse_pickle
    else:
        raise UserError(f"{path} lacks the batch {name}; download {URL}")
    try:
        pixels, labels = parse(content)
    except Exception as error:  # a hostile pickle can raise anything
        reason = in_a_line(error)
        raise UserError(f"{path}: the batch {name} is damaged ({reason}); download {URL}") from None
    return pixels, labels


def _parse_binary(content: bytes) -> _Batch:
    """Records of a label byte and 3,072 pixel bytes."""
    records = np.frombuffer(content, dtype=np.uint8)
    if not len(records) or len(records) % (1 + _PIXELS):
        raise ValueError(f"{len(records)} bytes is no whole number of images")
    records = records.reshape(-1, 1 + _PIXELS)
    return records[:, 1:], _checked(records[:, 0].astype(np.int64))


def _parse_pickle(content: bytes) -> _Batch:
    """A dictionary pickled by Python 2: b"data", (N, 3072) uint8, and b"labels", N integers."""
    batch = _ArrayUnpickler(BytesIO(content), encoding="bytes").load()
    pixels, labels = batch[b"data"], np.array(batch[b"labels"], dtype=np.int64)
    if not (
        isinstance(pixels, np.ndarray)
        and pixels.dtype == np.uint8
        and pixels.shape == (len(labels), _PIXELS)
    ):
        raise ValueError("its data is no array of images")
    return pixels, _checked(labels)


def _checked(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        raise ValueError("a label is not one of 0 to 9")
    return labels


def _dtype(kind: Any, *_: Any) -> np.dtype[Any]:
    """`numpy.dtype` as old pickles call it: with flags that NumPy 2.4.0 to 2.4.4 warn about."""
    made: np.dtype[Any] = np.dtype(kind)
    return made


# The function that an array's pickle calls; it has no public name.
_RECONSTRUCT = np.empty(0).__reduce__()[0]


class _ArrayUnpickler(pickle.Unpickler):
    """Makes arrays of numbers and nothing else, whatever the pickle asks for."""

    _ALLOWED: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,  # as NumPy 2 calls it
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): _dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """The few names that an array's pickle needs."""
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None
