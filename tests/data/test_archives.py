"""Tar files read in place, nested ones too; damaged ones in one line."""

import io
import tarfile
from concurrent.futures import ThreadPoolExecutor

import lookalikes
import pytest

from alexnet.data.archives import Member, Reader, index_images
from alexnet.errors import UserError


def archive_files() -> dict[str, bytes]:
    return {
        f"f/n{c:08d}_{i}.JPEG": bytes([c, i]) * (100 * c + i) for c in (1, 2) for i in (1, 2, 3)
    }


def test_members_read_as_tarfile_reads_them(tmp_path):
    path = lookalikes.write_tar(tmp_path / "a.tar", archive_files())
    members, read = index_images(path), Reader(path)
    with tarfile.open(path) as archive:
        for member, expected in zip(members, archive, strict=True):
            assert member.path == expected.name
            assert read(member) == archive.extractfile(expected).read()


def test_archives_in_archives_are_read_in_place(tmp_path):
    inner = {"n00000001_1.JPEG": b"one", "sub/n00000001_2.JPEG": b"two" * 500}
    deep = lookalikes.tar({"n00000003_1.JPEG": b"deep"})
    outer = {
        "n00000001.tar": lookalikes.tar(inner),
        "lone.jpg": b"between",
        "n00000002.tar": lookalikes.tar({"deeper.tar": deep}),
    }
    path = lookalikes.write_tar(tmp_path / "a.tar", outer)
    read = Reader(path)
    assert {m.path: read(m) for m in index_images(path)} == {
        "n00000001.tar/n00000001_1.JPEG": b"one",
        "n00000001.tar/sub/n00000001_2.JPEG": b"two" * 500,
        "lone.jpg": b"between",
        "n00000002.tar/deeper.tar/n00000003_1.JPEG": b"deep",
    }


def test_only_images_count(tmp_path):
    files = {"readme.txt": b"x", "._a.JPEG": b"macOS", "a.JPEG": b"a", "b.png": b"b"}
    path = lookalikes.write_tar(tmp_path / "a.tar", files)
    assert [member.name for member in index_images(path)] == ["a.JPEG", "b.png"]


def test_names_too_long_for_a_header(tmp_path):
    name = "/".join(["folder" * 10] * 5) + "/a.JPEG"
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=kind) as archive:
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"long"))
        (found,) = index_images(tmp_path / "a.tar")
        assert (found.path, Reader(tmp_path / "a.tar")(found)) == (name, b"long")


def test_many_threads_may_read(tmp_path):
    files = archive_files()
    path = lookalikes.write_tar(tmp_path / "a.tar", files)
    members, read = index_images(path) * 50, Reader(path)
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(read, members))
    assert contents == [files[member.path] for member in members]


@pytest.mark.parametrize("cut", [10, 700, 4000, -3000])
def test_a_truncated_archive_is_one_line(tmp_path, cut):
    content = lookalikes.tar({"n1.tar": lookalikes.tar(archive_files()), "z.JPEG": b"z" * 20_000})
    content = content.rstrip(b"\0")  # without the zeros at the end, which may be missing
    (tmp_path / "a.tar").write_bytes(content[:cut])
    with pytest.raises(UserError, match="damaged or incomplete, get it again") as caught:
        index_images(tmp_path / "a.tar")
    assert "\n" not in str(caught.value)


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    content = bytearray(lookalikes.tar(archive_files()))
    second = content.index(b"f/n00000001_2.JPEG")
    content[second + 130] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(UserError, match=f"header at byte {second} is damaged"):
        index_images(tmp_path / "a.tar")


@pytest.mark.parametrize("content", [b"", b"<html>" * 200, b"\x1f\x8b" + b"x" * 1000])
def test_what_is_no_archive_is_one_line(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(UserError, match="cannot read"):
        index_images(tmp_path / "a.tar")


def test_an_archive_that_shrinks_later(tmp_path):
    path = lookalikes.write_tar(tmp_path / "a.tar", archive_files())
    read = Reader(path)
    with pytest.raises(OSError, match="has become shorter"):
        read(Member("x.JPEG", offset=path.stat().st_size - 5, size=10))
