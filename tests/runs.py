"""Helpers to run the real command line in processes and to compare runs."""

import json
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from alexnet.rows import read_rows
from alexnet.training.checkpoint import checkpoints

# A narrow network on small pictures: a step takes milliseconds, and everything else is real.
TINY = (
    *("--set", "model.width=0.03125", "--set", "model.image_size=64", "--set", "data.size=72"),
    *("--set", "train.alarm=false", "--set", "augment.color=original", "--lr", "0.002"),
)
_TIMINGS = ("images_per_second", "data_wait_fraction")

# Children are forked from a server that has imported everything once. There is one server for all
# tests of a worker, and the last list of modules would win: this is the only one.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    [
        *("alexnet.cli", "alexnet.training.run", "alexnet.evaluation.report", "matplotlib.figure"),
        *("alexnet.tuning.search", "torch.distributed"),
        "torch._dynamo",  # DistributedDataParallel imports it when first used
    ]
)


def start(*arguments: str | Path, report: bool = True) -> BaseProcess:
    """Start the command line in a process of its own; its exit code is the command's."""
    process = processes.Process(target=_command, args=([str(a) for a in arguments], report))
    process.start()
    return process


def finish(*arguments: str | Path, report: bool = False) -> int:
    """Run the command line in a process of its own and return its exit code.

    Runs that end leave their report unwritten if nobody reads it: drawing takes longer than the
    training of a small network.
    """
    process = start(*arguments, report=report)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def kill_while_training(process: BaseProcess, run: Path, seconds: float) -> bool:
    """kill -9 so many seconds after the process has saved its first checkpoint; was it alive?"""
    before = checkpoints(run / "checkpoints")
    while process.is_alive() and checkpoints(run / "checkpoints") == before:
        time.sleep(0.002)
    process.join(seconds)
    return _kill(process)


def kill_while_saving(process: BaseProcess, run: Path, skip: int) -> bool:
    """kill -9 at the sight of a half-written checkpoint, the first after so many whole ones."""
    saved = {path.name for path in checkpoints(run / "checkpoints")}
    begun = set(saved)
    while process.is_alive():
        begun |= {path.name for path in checkpoints(run / "checkpoints")}
        if len(begun - saved) >= skip and any((run / "checkpoints").glob(".*.part")):
            break
    return _kill(process)


def _kill(process: BaseProcess) -> bool:
    alive = process.is_alive()
    process.kill()
    process.join()
    return alive


def send_when(process: BaseProcess, number: signal.Signals, path: Path, size: int = 1) -> None:
    """Send a signal as soon as a file has reached a size."""
    while not (path.exists() and path.stat().st_size >= size):
        assert process.is_alive(), "the process ended before the signal"
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join()


def final_state(run: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]], dict[str, Any]]:
    """The last checkpoint and best weights, the metrics and the result, without timings."""
    tensors = load_file(checkpoints(run / "checkpoints")[-1])
    best = {f"best.{k}": v for k, v in load_file(run / "weights.safetensors").items()}
    rows = [
        {key: value for key, value in row.items() if key not in _TIMINGS}
        for row in read_rows(run / "metrics.jsonl")
    ]
    result = json.loads((run / "result.json").read_text())
    for key in (*_TIMINGS, "seconds", "run"):
        del result[key]
    return {**tensors, **best}, rows, result


def assert_same_run(a: Path, b: Path) -> None:
    """Two finished runs are equal to the bit: weights, velocity, sums, metrics, result."""
    tensors_a, rows_a, result_a = final_state(a)
    tensors_b, rows_b, result_b = final_state(b)
    assert tensors_a.keys() == tensors_b.keys()
    different = [name for name in tensors_a if not torch.equal(tensors_a[name], tensors_b[name])]
    assert different == []
    assert rows_a == rows_b
    assert result_a == result_b


def _command(arguments: list[str], report: bool) -> None:
    from alexnet.cli import run
    from alexnet.training import run as training

    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    if not report:
        training.write_run_report = lambda *things: None  # type: ignore[assignment]
    with Path(os.devnull).open("w") as nowhere:
        sys.stderr = sys.stdout = nowhere
        sys.exit(run(arguments))
