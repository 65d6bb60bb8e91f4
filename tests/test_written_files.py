"""Files that are whole or not there, however many write them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from alexnet.files import write_atomically
from alexnet.training.directory import sole_use


def test_threads_that_write_one_file_do_not_meet(tmp_path):
    both = Barrier(2)

    def write(content: str) -> None:
        def begin(temporary: Path) -> None:
            temporary.write_text(content)
            both.wait(10)
            assert temporary.read_text() == content

        write_atomically(tmp_path / "file", begin)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ["one", "other"]))
    assert (tmp_path / "file").read_text() in ("one", "other")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_process_left_in_a_run_goes_with_the_next(tmp_path: Path) -> None:
    (tmp_path / ".weights.safetensors.0123.part").write_bytes(b"half")
    with sole_use(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]
