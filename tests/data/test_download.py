"""Downloads against a server on this machine that can be as unreliable as the real ones."""

import hashlib
import http.server
import io
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from alexnet.data.download import console_progress, download, matches
from alexnet.errors import UserError

CONTENT = bytes(range(251)) * 4000  # about a megabyte, no block like another
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT at every path; the attributes are its moods."""

    daemon_threads = True
    knows_ranges = True
    tells_length = True
    statuses: tuple[int, ...] = ()  # answers to give before the good ones
    cuts: tuple[int, ...] = ()  # bytes after which to hang up, an answer each

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []  # the Range header of each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/cifar-10-binary.tar.gz"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        if server.statuses:
            status, *rest = server.statuses
            server.statuses = tuple(rest)
            self.send_error(status)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        start = start if server.knows_ranges else 0
        if wanted and start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        if server.tells_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.cuts:
            cut, *rest = server.cuts
            server.cuts = tuple(rest)
            body = body[:cut]
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server: Server, path: Path, checksum: str = MD5, **options: object) -> Path:
    return download(server.url, path, checksum=checksum, pause=0.001, timeout=5, **options)


def part_of(path: Path) -> Path:
    return path.with_name(path.name + ".part")


@pytest.mark.parametrize("checksum", [MD5, SHA256])
def test_a_file_arrives_whole(server, tmp_path, checksum):
    path = tmp_path / "new" / "folder" / "file"
    assert fetch(server, path, checksum) == path
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    assert matches(path, checksum)


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    path = fetch(server, tmp_path / "file")
    fetch(server, path)
    assert len(server.asked) == 1


def test_a_damaged_file_is_replaced(server, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT[:-1] + b"?")
    assert fetch(server, path).read_bytes() == CONTENT


def test_a_lost_connection_is_taken_up_where_it_broke(server, tmp_path):
    server.cuts = (300_000, 0, 1, 400_000)
    told = []
    path = fetch(server, tmp_path / "file", progress=lambda *numbers: told.append(numbers))
    assert path.read_bytes() == CONTENT
    expected = [None, "bytes=300000-", "bytes=300000-", "bytes=300001-", "bytes=700001-"]
    assert server.asked == expected
    assert {total for _, total in told} == {len(CONTENT)}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_a_later_call_goes_on_from_the_part(server, tmp_path):
    path = tmp_path / "file"
    part_of(path).write_bytes(CONTENT[:123_456])
    assert fetch(server, path).read_bytes() == CONTENT
    assert server.asked == ["bytes=123456-"]


def test_a_part_that_is_whole_needs_only_checking(server, tmp_path):
    part_of(tmp_path / "file").write_bytes(CONTENT)
    assert fetch(server, tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-"]  # answered with 416


def test_a_server_without_ranges_begins_again(server, tmp_path):
    server.knows_ranges = False
    server.cuts = (500_000, 200_000)
    assert fetch(server, tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=500000-", "bytes=200000-"]


def test_a_server_that_keeps_the_length_to_itself_is_checked_by_the_sum(server, tmp_path):
    server.tells_length = False
    told = []
    path = fetch(server, tmp_path / "file", progress=lambda *numbers: told.append(numbers))
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), None)


def test_passing_trouble_of_the_server_is_waited_out(server, tmp_path):
    server.statuses = (503, 429, 500)
    assert fetch(server, tmp_path / "file").read_bytes() == CONTENT


def test_it_gives_up_when_nothing_arrives_and_keeps_what_did(server, tmp_path):
    server.cuts = (250_000, *[0] * 20)
    message = r"the connection was lost; check the connection and try again \(0\.2 MB are kept\)$"
    with pytest.raises(UserError, match=message):
        fetch(server, tmp_path / "file", attempts=3)
    assert len(server.asked) == 4
    assert part_of(tmp_path / "file").read_bytes() == CONTENT[:250_000]
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("status", [404, 403])
def test_what_is_not_there_is_not_asked_for_twice(server, tmp_path, status):
    server.statuses = (status,) * 5
    with pytest.raises(UserError, match=f"^cannot download http.*: the server says {status} "):
        fetch(server, tmp_path / "file")
    assert len(server.asked) == 1


def test_other_bytes_than_expected_are_deleted(server, tmp_path):
    with pytest.raises(UserError, match=r"is not the file that was expected \(its md5 differs\)"):
        fetch(server, tmp_path / "file", "md5:" + "0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_offline_is_one_line(tmp_path, server, monkeypatch):
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    with Server() as other:
        url = other.url  # by now nobody listens there
    with pytest.raises(UserError, match="Connection refused; check the connection") as caught:
        download(url, tmp_path / "file", checksum=MD5)
    assert "\n" not in str(caught.value)
    assert pauses == [0.5, 1.0, 2.0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_line(server, tmp_path):
    part_of(tmp_path / "file").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"^the disk is full: cannot write .*file\.part; make room"):
        fetch(server, tmp_path / "file")


def test_a_folder_that_cannot_be_made_is_one_line(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"^cannot write .*: (File exists|Not a directory)$"):
        fetch(server, tmp_path / "file" / "inside")


def test_progress_without_a_terminal_is_a_line_a_tenth():
    stream = io.StringIO()
    with console_progress("CIFAR-10", stream) as progress:
        for done in range(0, 20_000_001, 100_000):
            progress(done, 20_000_000)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "CIFAR-10: 0.0 of 20.0 MB"
    assert lines[1] == "CIFAR-10: 2.0 of 20.0 MB"
    assert len(lines) == 11

    stream = io.StringIO()
    with console_progress("CIFAR-10", stream) as progress:
        for done in range(0, 40_000_001, 1_000_000):
            progress(done, None)
    assert stream.getvalue().splitlines()[1:] == ["CIFAR-10: 16.0 MB", "CIFAR-10: 32.0 MB"]


def test_progress_on_a_terminal_is_a_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    stream.isatty = lambda: True
    with console_progress("CIFAR-10", stream) as progress:
        progress(0, 20_000_000)
        progress(20_000_000, 20_000_000)
    assert "━" in stream.getvalue()
    assert "20.0/20.0 MB" in stream.getvalue()


def test_progress_stays_off_standard_output(capsys, monkeypatch):
    with console_progress("CIFAR-10") as progress:
        progress(1, 2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "CIFAR-10: 0.0 of 0.0 MB\n"
    assert sys.stderr is not None


def test_a_download_that_nobody_watches_goes_on(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    unread = os.fdopen(writer, "w")
    monkeypatch.setattr(sys, "stderr", unread)
    with console_progress("CIFAR-10") as progress:
        for done in (1, 5, 10):
            progress(done, 10)
    with suppress(BrokenPipeError):
        unread.close()
