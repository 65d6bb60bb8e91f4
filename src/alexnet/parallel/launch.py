"""Starting several processes on this machine, through torchrun and its library.

`--devices N` starts torchrun and says in one line how its processes ended; measurements call a
function in a world of their own.
"""

import logging
import os
import signal
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.distributed.run import parse_args
from torch.distributed.run import run as run_torchrun

from alexnet.commands import quoted_command
from alexnet.errors import InterruptedRunError, ProcessesLostError, SaidAlreadyError, UserError
from alexnet.parallel.world import started_size
from alexnet.process import threads_each
from alexnet.progress import say

T = TypeVar("T")
_RESTARTS = 3  # a machine that loses a process this often will lose the next


def launch(arguments: Sequence[str], devices: int) -> None:
    """Run `alexnet ARGUMENTS` in so many processes, started again together if one is lost.

    Raises:
        UserError: they could not go on; the cause has been said by the process that knows it.
        InterruptedRunError: they were asked to stop, and have saved.
    """
    if started_size() > 1:
        raise UserError("these processes were started by torchrun already; leave out --devices")
    _warn_of_sharing(devices)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads_each(devices)))
    logging.disable(logging.CRITICAL)  # our processes say themselves what has happened
    torchrun = ["--standalone", "--nproc-per-node", str(devices), "--monitor-interval", "0.1"]
    restarts = ["--max-restarts", str(_RESTARTS)]
    try:
        run_torchrun(
            parse_args(  # type: ignore[no-untyped-call]
                [*torchrun, *restarts, "-m", "alexnet", *arguments]
            )
        )
    except ChildFailedError as error:
        again = quoted_command(*arguments, "--devices", str(devices))
        raise _explanation(list(error.failures.values()), again) from error
    except SignalException as error:
        if error.sigval == signal.SIGQUIT:  # from a process that said what the user must mend
            raise SaidAlreadyError from error
        raise InterruptedRunError from error


def run_together(function: Callable[..., T], processes: int, *arguments: Any) -> T:
    """Call a function in so many processes of one world; what it returns in the first.

    The function and its arguments must be picklable.
    """
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads_each(processes))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
        start_method="spawn",
    )
    try:
        results: dict[int, T] = elastic_launch(config, function)(*arguments)
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before
    return results[0]


def _explanation(failures: list[ProcessFailure], again: str) -> Exception:
    """What to say of processes that ended too often; `again` is the command that goes on."""
    if any(failure.exitcode == 130 for failure in failures):
        return InterruptedRunError()
    if any(failure.exitcode == 2 for failure in failures):
        return SaidAlreadyError()
    # The others end because this one has; torchrun itself sends SIGTERM.
    known = [f for f in failures if f.exitcode < 0 and f.exitcode != -signal.SIGTERM]
    first = (known or failures)[0]
    how = (
        f"was killed by {signal.Signals(-first.exitcode).name}"
        if first.exitcode < 0
        else f"ended with code {first.exitcode}"
    )
    return ProcessesLostError(
        f"process {first.local_rank} {how} and {_RESTARTS} restarts did not help; continue from "
        f"what was saved with: {again}"
    )


def _warn_of_sharing(devices: int) -> None:
    cards = torch.cuda.device_count()
    if 0 < cards < devices:
        say(f"{devices} processes share {cards} CUDA devices; that works and does not pay")
