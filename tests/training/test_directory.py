"""Where a run goes, and how processes that are started again find theirs."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from alexnet.errors import ProcessesLostError, UserError
from alexnet.training.choices import resolve_config
from alexnet.training.directory import create_run, gone_unless_begun, sole_use


@pytest.mark.parametrize("name", ["cats", "cats[2020]"])
def test_a_restart_finds_its_run(
    name: str, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(image_folder, name)
    config = resolve_config(name, None, ["train.epochs=1"])
    first, second = create_run(config, None), create_run(config, None)
    assert [run.name for run in (first, second)] == [f"{name}-default", f"{name}-default-2"]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert create_run(config, None) == second
    with sole_use(second):  # by processes that were started beside those
        assert create_run(config, None) == first


def test_runs_that_begin_at_once_have_a_directory_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = resolve_config("digits", None, [])
    together = Barrier(8)

    def begin(_: int) -> Path:
        together.wait(10)
        return create_run(config, None)

    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(begin, range(8)))
    assert len(set(runs)) == 8


def test_a_run_that_another_process_trains_stays(tmp_path: Path) -> None:
    run = create_run(resolve_config("digits", None, []), tmp_path / "run")
    refused = pytest.raises(UserError, match="wait for it")
    with sole_use(run), refused, gone_unless_begun(run), sole_use(run):
        pass
    assert (run / "config.json").exists()
    with pytest.raises(UserError), gone_unless_begun(run):
        raise UserError
    assert not run.exists()


def test_what_is_to_be_continued_stays(tmp_path: Path) -> None:
    run = create_run(resolve_config("digits", None, []), tmp_path / "run")
    with pytest.raises(ProcessesLostError), gone_unless_begun(run):
        raise ProcessesLostError
    assert (run / "config.json").exists()
