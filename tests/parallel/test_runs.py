"""Runs of several processes through the command line: files, resuming, losing processes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.torch import load_file
from workers import command_line, stop

from alexnet import cli
from alexnet.process import signals_to_stop
from alexnet.rows import read_rows
from alexnet.training.checkpoint import checkpoints
from runs import TINY, assert_same_run, finish

# 60 images in batches of 16: epochs of 4 steps, the last one short.
_EPOCHS = 8
_RUN = (
    *TINY,
    *("--epochs", str(_EPOCHS), "--batch-size", "16", "--precision", "fp32"),
    *("--set", "checkpoint.every_steps=1", "--set", "train.timeout_seconds=900"),
)


@contextmanager
def torchrun(
    processes: int, *arguments: str | Path, restarts: int = 0
) -> Iterator[subprocess.Popen]:
    """`torchrun --nproc-per-node N -m alexnet …`, ended with everything it started."""
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(processes), "--max-restarts", str(restarts)),
        *("--monitor-interval", "0.05", "-m", "alexnet"),
    ]
    with subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            ranks = workers(process.pid)
            process.kill()
            process.communicate()
            for rank in ranks:
                wait_until_gone(rank)


def workers(launcher: int) -> list[int]:
    """The processes of a launcher, in order of rank."""
    try:
        found = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    except OSError:
        return []
    ranks = {}
    for pid in map(int, found):
        variables = _environment(pid)
        if "RANK" in variables:
            ranks[int(variables["RANK"])] = pid
    return [ranks[rank] for rank in sorted(ranks)]


def _environment(pid: int) -> dict[str, str]:
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def wait_until_gone(pid: int, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        state = Path(f"/proc/{pid}/stat")
        try:
            if state.read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        assert time.monotonic() < end, f"process {pid} is an orphan"
        time.sleep(0.01)


def wait_for_checkpoint(run: Path, after: int, process: subprocess.Popen) -> None:
    """Until the run has saved a step beyond `after`."""
    while last_step(run) <= after:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def last_step(run: Path) -> int:
    saved = checkpoints(run / "checkpoints")
    return int(saved[-1].stem.removeprefix("step-")) if saved else 0


def new_run(image_folder: Path, out: Path, *changes: str) -> Path:
    """A run directory with its configuration and nothing else."""
    from alexnet.training.choices import resolve_config
    from alexnet.training.directory import create_run

    homes = {
        "--epochs": "train.epochs=",
        "--batch-size": "train.batch_size=",
        "--precision": "train.precision=",
        "--lr": "optimizer.lr=",
        "--set": "",
    }
    settings = [homes[name] + value for name, value in zip(_RUN[::2], _RUN[1::2], strict=True)]
    config = resolve_config(str(image_folder), "default", [*settings, *changes])
    return create_run(config, out)


@pytest.fixture(scope="module")
def undisturbed(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two columns, never disturbed, by `--devices 2`."""
    run = tmp_path_factory.mktemp("parallel") / "run"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "alexnet", "train", str(image_folder), "--out", str(run)),
            *(*_RUN, "--devices", "2", "--layout", "columns", "--json"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)  # one document, from one process
    assert document["run"] == str(run)
    assert document["steps"] == 4 * _EPOCHS
    assert "Traceback" not in done.stderr
    return run


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_rows(run / "metrics.jsonl")]


def test_files_are_those_of_one_device(
    undisturbed: Path, image_folder: Path, tmp_path: Path
) -> None:
    """Names and shapes of everything saved, losses, and the directory."""
    alone = tmp_path / "run"
    assert finish("train", image_folder, "--out", alone, *_RUN, report=True) == 0
    for file in ("weights.safetensors", f"checkpoints/step-{4 * _EPOCHS:08d}.safetensors"):
        ours, theirs = load_file(undisturbed / file), load_file(alone / file)
        assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    watched = {"findings.jsonl"}  # units are watched where the network is whole
    names = [{p.name for p in run.iterdir()} - watched for run in (undisturbed, alone)]
    assert names[0] == names[1]
    assert losses(undisturbed) == pytest.approx(losses(alone), rel=1e-4)
    updates = [
        next(row for row in read_rows(run / "metrics.jsonl") if row["split"] == "train")[
            "update_ratios"
        ]
        for run in (undisturbed, alone)
    ]
    assert updates[0].keys() == updates[1].keys()
    for layer, ratio in updates[0].items():  # of one half; its squares are at most all there are
        assert 0.0 < ratio < 1.5 * updates[1][layer], layer
    result = json.loads((undisturbed / "result.json").read_text())
    assert result["top1_error"] == json.loads((alone / "result.json").read_text())["top1_error"]


@pytest.mark.slow
def test_killed_launchers_and_ranks(undisturbed: Path, image_folder: Path, tmp_path: Path) -> None:
    """A killed launcher leaves no orphans; a killed rank is started again with the others.

    One rank is killed at a random moment, or as many as ALEXNET_KILLS says, one after the other.
    """
    run = new_run(image_folder, tmp_path / "run")
    resumed = ("train", "--resume", run, "--layout", "columns")
    with torchrun(2, *resumed) as process:
        wait_for_checkpoint(run, 0, process)
        ranks = workers(process.pid)
        assert len(ranks) == 2
        process.kill()
        for rank in ranks:
            wait_until_gone(rank)
    moments = random.Random(1)
    kills = int(os.environ.get("ALEXNET_KILLS", "1"))
    with torchrun(2, *resumed, restarts=kills) as process:
        before: set[int] = set()
        for _ in range(kills):
            wait_for_checkpoint(run, last_step(run), process)
            while len(alive := set(workers(process.pid)) - before) < 2:
                assert process.poll() is None
                time.sleep(0.01)
            time.sleep(moments.uniform(0.0, 0.03))
            os.kill(moments.choice(sorted(alive)), signal.SIGKILL)
            before |= alive
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert errors.count("alexnet: process") <= kills  # no more than one line for each
    assert "RuntimeError" not in errors
    assert_same_run(undisturbed, run)


def test_a_stopped_run_goes_on_with_other_processes(
    undisturbed: Path, image_folder: Path, tmp_path: Path
) -> None:
    """One, two columns, three replicas and two hybrid ones are asked to stop; one finishes."""
    run, log = new_run(image_folder, tmp_path / "run"), tmp_path / "log"
    stopped = 0
    for stops, (size, layout) in enumerate(
        ((1, "auto"), (2, "columns"), (3, "data"), (2, "hybrid")), start=1
    ):
        ranks = command_line(size, "train", "--resume", run, "--layout", layout, log=log)
        while last_step(run) <= stopped + 4:
            assert all(rank.is_alive() for rank in ranks), log.read_text()
            time.sleep(0.005)
        os.kill(ranks[-1].pid or 0, signal.SIGTERM)  # one is asked, all agree
        for rank in ranks:
            rank.join()
        assert [rank.exitcode for rank in ranks] == [130] * size
        assert log.read_text().count("alexnet: stopped at step") == stops
        stopped = last_step(run)
    assert stopped < 4 * _EPOCHS
    assert finish("train", "--resume", run) == 0
    assert losses(run) == pytest.approx(losses(undisturbed), rel=1e-4)


def test_the_steps_that_are_set_are_saved(image_folder: Path, tmp_path: Path) -> None:
    """Those, not the ones after; the last two of 3, 4, 6 and 8 are kept."""
    run = new_run(image_folder, tmp_path / "run", "train.epochs=2", "checkpoint.every_steps=3")
    ranks = command_line(2, "train", "--resume", run, log=tmp_path / "log")
    for rank in ranks:
        rank.join(300)
        assert rank.exitcode == 0, (tmp_path / "log").read_text()
    saved = [path.stem for path in checkpoints(run / "checkpoints")]
    assert saved == ["step-00000006", "step-00000008"]


@pytest.mark.slow
def test_a_hung_rank_is_noticed(image_folder: Path, tmp_path: Path) -> None:
    """One process is frozen; the other says so in one line once its patience has ended."""
    run = new_run(image_folder, tmp_path / "run", "train.timeout_seconds=15")
    log = tmp_path / "log"
    ranks = command_line(2, "train", "--resume", run, "--layout", "columns", log=log)
    try:
        while last_step(run) < 2:
            assert all(rank.is_alive() for rank in ranks), log.read_text()
            time.sleep(0.005)
        os.kill(ranks[1].pid or 0, signal.SIGSTOP)
        ranks[0].join()
        assert ranks[0].exitcode == 1
    finally:
        stop(ranks)
    said = [line for line in log.read_text().splitlines() if line.startswith("alexnet:")]
    assert len(said) == 1
    assert said[0].startswith("alexnet: process 0 of 2 has lost another one")
    assert "Traceback" not in log.read_text()
    assert checkpoints(run / "checkpoints")


def test_mistakes_are_said_once_and_not_tried_again(image_folder: Path, tmp_path: Path) -> None:
    run = new_run(image_folder, tmp_path / "run", "model.columns=1")
    line = [sys.executable, "-m", "alexnet", "train", "--resume", str(run), "--devices", "2"]
    done = subprocess.run([*line, "--layout", "columns"], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("alexnet:") == 1, done.stderr
    assert "one column" in done.stderr.splitlines()[-1]


def test_mistakes_are_said_before_processes_are_started(
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("alexnet.parallel.launch.launch", pytest.fail)
    run = new_run(image_folder, tmp_path / "run", "train.device=cuda")
    for folder, said in ((run, "sees no CUDA device"), (tmp_path / "none", "is not a run")):
        assert cli.run(["train", "--resume", str(folder), "--devices", "2"]) == 2
        assert said in capfd.readouterr().err.splitlines()[-1]


def test_mistakes_that_processes_find_before_they_meet_end_torchrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("TORCHELASTIC_MAX_RESTARTS", "3")):
        monkeypatch.setenv(name, value)
    ended: list[bool] = []
    monkeypatch.setattr("alexnet.parallel.world.forbid_restart", lambda: ended.append(True))
    handlers = {number: signal.getsignal(number) for number in signals_to_stop()}
    try:
        assert cli.run(["train", "--resume", str(tmp_path / "none")]) == 2
        assert all(signal.getsignal(number) == signal.SIG_IGN for number in handlers)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert ended == [True]


def test_evaluation_is_sharded(undisturbed: Path, image_folder: Path, tmp_path: Path) -> None:
    arguments = ("eval", undisturbed, image_folder, "--batch-size", "4", "--json")
    ranks = command_line(3, *arguments, log=tmp_path / "log")
    for rank in ranks:
        rank.join()
        assert rank.exitcode == 0, (tmp_path / "log").read_text()
    measured = json.loads((tmp_path / "log.out").read_text())
    result = json.loads((undisturbed / "result.json").read_text())
    assert measured["images"] == result["images"]
    assert measured["top1_error"] == result["top1_error"]
