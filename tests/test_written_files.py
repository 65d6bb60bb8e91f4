"""Files that are whole or not there, however many write them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from alexnet.config import Config, override
from alexnet.errors import UserError
from alexnet.files import at_home, write_atomically
from alexnet.model.weights import load
from alexnet.training.directory import create_run, sole_use


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


def test_a_run_does_not_lie_among_its_images(
    new_image_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_image_folder(count=2)
    classes = str(folder / "train")
    monkeypatch.chdir(classes)
    for data in (classes, str(folder)):
        config = override(Config(), [f"data.source={data}"])
        with pytest.raises(UserError, match="give an --out outside of it"):
            create_run(config, None)
    assert sorted(path.name for path in Path().iterdir()) == ["blue", "green", "red"]
    assert create_run(config, folder / "runs" / "first").is_dir()  # beside train and val


def test_a_name_that_libraries_cannot_open_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no name in UTF-8"):
        create_run(Config(), tmp_path / "lat\udce9")
    with pytest.raises(UserError, match="no home for"):
        at_home("~nobody-of-this-name/pictures")


def test_a_command_to_paste_is_one_for_a_shell(tmp_path: Path) -> None:
    run = tmp_path / "mein Lauf"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.json").touch()
    for mistake in (lambda: create_run(Config(), run), lambda: load(run)):
        with pytest.raises(UserError, match=f"alexnet train --resume '{run}'"):
            mistake()
