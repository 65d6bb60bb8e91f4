"""Runs that are stopped in every way there is end exactly as runs that were not."""

import json
import random
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet.rows import read_rows
from alexnet.training.checkpoint import checkpoints
from runs import (
    TINY,
    assert_same_run,
    finish,
    kill_while_saving,
    kill_while_training,
    send_when,
    start,
)

# 60 images in batches of 16: epochs of 4 steps, the last one short; a checkpoint every step.
_SHORT_RUN = (*TINY, "--epochs", "8", "--batch-size", "16", "--set", "checkpoint.every_steps=1")


@pytest.fixture(scope="module")
def undisturbed(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    assert finish("train", image_folder, "--out", run, *_SHORT_RUN) == 0
    return run


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments(undisturbed: Path, tmp_path: Path, seed: int) -> None:
    """Four runs, each killed -9 four times in the middle of training, wherever it is."""
    run = _same_run_again(undisturbed, tmp_path)
    moments = random.Random(seed)
    for _ in range(4):
        process = start("train", "--resume", run)
        assert kill_while_training(process, run, moments.uniform(0.0, 0.1))
    assert checkpoints(run / "checkpoints")
    assert not (run / "result.json").exists()
    assert finish("train", "--resume", run) == 0
    assert_same_run(undisturbed, run)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_while_a_checkpoint_is_written(undisturbed: Path, tmp_path: Path, seed: int) -> None:
    """Two runs, each killed -9 four times with a half-written checkpoint on the disk."""
    run = _same_run_again(undisturbed, tmp_path)
    moments = random.Random(seed)
    left_half_written = 0
    for _ in range(4):
        process = start("train", "--resume", run)
        assert kill_while_saving(process, run, moments.randint(1, 4))
        left_half_written += bool(list((run / "checkpoints").glob(".*.part")))
    assert left_half_written
    assert finish("train", "--resume", run) == 0
    assert_same_run(undisturbed, run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_save_and_end_with_130(
    undisturbed: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run = _same_run_again(undisturbed, tmp_path)
    process = start("train", "--resume", run)
    send_when(process, number, run / "metrics.jsonl")
    assert process.exitcode == 130
    assert checkpoints(run / "checkpoints")
    assert not (run / "result.json").exists()
    assert finish("train", "--resume", run) == 0
    assert_same_run(undisturbed, run)


def test_any_number_of_workers_makes_the_same_run(
    undisturbed: Path, image_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    workers = ("--set", "data.workers=5")
    assert finish("train", image_folder, "--out", run, *_SHORT_RUN, *workers) == 0
    assert_same_run(undisturbed, run)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    (run / "result.json").unlink()
    assert not (run / "report.html").exists()
    newest = checkpoints(run / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    (run / "checkpoints" / f".{newest.name}.1.part").write_bytes(b"half a checkpoint")
    assert finish("train", "--resume", run, report=True) == 0
    assert_same_run(undisturbed, run)
    assert (run / "report.html").exists()
    assert not list((run / "checkpoints").glob(".*.part"))


def test_a_finished_run_is_not_repeated(undisturbed: Path) -> None:
    before = (undisturbed / "metrics.jsonl").stat().st_mtime_ns
    assert finish("train", "--resume", undisturbed) == 0
    assert (undisturbed / "metrics.jsonl").stat().st_mtime_ns == before


def test_a_file_size_limit_keeps_the_checkpoints_before(undisturbed: Path, tmp_path: Path) -> None:
    """The writing of a checkpoint fails half-way, as on a full disk."""
    run = _same_run_again(undisturbed, tmp_path)
    process = start("train", "--resume", run)
    send_when(process, signal.SIGTERM, run / "metrics.jsonl")
    before = {path: path.read_bytes() for path in checkpoints(run / "checkpoints")}
    limited = _command_line("train", "--resume", run, limit=200_000)
    assert limited.returncode == 2, limited.stderr
    assert limited.stderr.strip().count("alexnet:") == 1
    assert f"alexnet train --resume {run}" in limited.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert finish("train", "--resume", run) == 0
    assert_same_run(undisturbed, run)


def test_a_full_disk_ends_in_one_line(
    undisturbed: Path, image_folder: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted only by root")
    try:
        full = _command_line("train", image_folder, "--out", disk / "run", *_SHORT_RUN)
        assert full.returncode == 2, full.stderr
        assert "the disk is full" in full.stderr.splitlines()[-1]
        saved = {path.name for path in (disk / "run" / "checkpoints").iterdir()}
        assert saved
        assert all(name.startswith("step-") for name in saved)
        shutil.copytree(disk / "run", tmp_path / "run")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert finish("train", "--resume", tmp_path / "run") == 0
    assert_same_run(undisturbed, tmp_path / "run")


def test_two_processes_do_not_train_one_run(undisturbed: Path, tmp_path: Path) -> None:
    run = _same_run_again(undisturbed, tmp_path)
    first = start("train", "--resume", run)
    while not (run / "metrics.jsonl").exists():
        assert first.is_alive()
    assert finish("train", "--resume", run) == 2
    first.join()
    assert first.exitcode == 0
    assert_same_run(undisturbed, run)


def test_other_images_are_refused(undisturbed: Path, image_folder: Path, tmp_path: Path) -> None:
    pictures, run = tmp_path / "pictures", tmp_path / "run"
    shutil.copytree(image_folder, pictures)
    assert finish("train", pictures, "--out", run, *_SHORT_RUN, "--steps", "2") == 0
    (run / "result.json").unlink()
    (pictures / "train" / "red" / "003.png").unlink()
    assert finish("train", "--resume", run) == 2


def test_metrics_say_what_the_contract_says(undisturbed: Path) -> None:
    rows = read_rows(undisturbed / "metrics.jsonl")
    train_rows = [row for row in rows if row["split"] == "train"]
    validation_rows = [row for row in rows if row["split"] == "val"]
    assert len(validation_rows) == 8
    assert train_rows[-1].keys() >= {
        *("step", "epoch", "split", "loss", "top1_error", "top5_error"),
        *("learning_rate", "images_per_second", "data_wait_fraction"),
    }
    assert train_rows[-1]["step"] == 32
    assert train_rows[-1]["epoch"] == 8.0
    assert json.loads((undisturbed / "result.json").read_text())["steps"] == 32


def _same_run_again(undisturbed: Path, tmp_path: Path) -> Path:
    """A run directory with the configuration of another and nothing else."""
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(undisturbed / "config.json", run)
    return run


def _command_line(*arguments: str | Path, limit: int | None = None) -> subprocess.CompletedProcess:
    def restrict() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "alexnet", *map(str, arguments)],
        capture_output=True,
        text=True,
        preexec_fn=restrict,
    )
