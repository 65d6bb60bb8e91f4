"""Tar archives read in place: an index of where each file lies, and reads at those places."""

import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from alexnet.data.encoded import check_size
from alexnet.data.images import EXTENSIONS
from alexnet.errors import UserError
from alexnet.progress import Meter

_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside an archive, or inside an archive in that archive."""

    path: str  # "val/ILSVRC2010_val_00000001.JPEG"; of a nested one "n07711080.tar/…"
    offset: int  # bytes from the start of the outer archive
    size: int  # bytes

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


def index_images(archive: Path) -> list[Member]:
    """Every image in a tar file and in the tar files inside it, in the order they are stored.

    Only headers are read. Names decide what an image is; hidden files are passed over.

    Raises:
        UserError: no tar file, a compressed one, or one that is damaged or ends early.
    """
    members = []
    try:
        with archive.open("rb", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            done = 0
            with Meter(f"indexing {archive.name} (MiB)", size // _MEBIBYTE) as meter:
                for member in _walk(file, 0, size, ""):
                    if _promises_an_image(member.name):
                        members.append(member)
                    if (place := member.offset // _MEBIBYTE) > done:
                        meter.advance(place - done)
                        done = place
    except (tarfile.TarError, OSError) as error:
        raise UserError(
            f"cannot read {archive}: {_reason(error)}; the archive is damaged or incomplete, "
            "get it again"
        ) from None
    return members


class Reader:
    """Reads members of one archive, from any number of threads; the file stays open."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._descriptor = os.open(archive, os.O_RDONLY | os.O_CLOEXEC)

    def __call__(self, member: Member) -> bytes:
        """The bytes of a member; OSError if they have gone, BadImage if they are too many."""
        check_size(member.size)
        content = os.pread(self._descriptor, member.size, member.offset)
        while len(content) < member.size:  # one read brings 2 GiB at most
            missing, place = member.size - len(content), member.offset + len(content)
            more = os.pread(self._descriptor, missing, place)
            if not more:
                raise OSError(None, f"{self._archive} has become shorter")
            content += more
        return content

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


def read_small_files(archive: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """The content of the files in a (compressed) tar file whose last name is `wanted`.

    Raises:
        UserError: it cannot be read.
    """
    files = {}
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                name = PurePosixPath(member.name).name
                content = opened.extractfile(member) if member.isfile() else None
                if content is not None and wanted(name):
                    files[name] = content.read()
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise UserError(f"cannot read {archive}: {_reason(error)}; get it again") from None
    return files


def _walk(file: BinaryIO, start: int, end: int, prefix: str) -> Iterator[Member]:
    """The files of the archive that lies at `start`..`end` of an open file, nested ones too."""
    file.seek(start)
    archive = tarfile.TarFile(fileobj=file)
    while (header := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # it would keep a million of them
        place = header.offset_data
        if place + header.size > end:
            raise tarfile.ReadError("it ends early")
        if not header.isfile():
            continue
        if header.name.endswith(".tar"):
            yield from _walk(file, place, place + header.size, f"{prefix}{header.name}/")
        else:
            yield Member(prefix + header.name, place, header.size)
    _check_end(file, archive.offset, end)


def _check_end(file: BinaryIO, offset: int, end: int) -> None:
    """`tarfile` takes any damaged header for the end; the true end is zeros or nothing."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE) if offset < end else b""
    if any(block):
        raise tarfile.ReadError(f"the header at byte {offset} is damaged")


def _promises_an_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(EXTENSIONS)


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).partition("\n")[0]
