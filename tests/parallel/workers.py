"""Helpers to run Python functions and the command line in several processes that form a world."""

import os
import pickle
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from runs import processes as _processes  # isort: skip


def together(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What a function returns in each of so many processes that are started as torchrun does."""
    return begin(size, function, *arguments).results()


@dataclass(frozen=True)
class Begun:
    """Processes at work, from which results are still to come."""

    processes: list[BaseProcess]
    receivers: list[Any]

    def results(self) -> list[Any]:
        """What each process returned, in the order of ranks."""
        try:
            results = [_receive(receiver) for receiver in self.receivers]
        finally:
            stop(self.processes)
        for failed, result in results:
            assert not failed, result
        return [result for _, result in results]


def begin(size: int, function: Callable[..., Any], *arguments: Any) -> Begun:
    """Start a function in each of so many processes; several worlds can be at work at once."""
    port = free_port()
    receivers, processes = [], []
    for rank in range(size):
        receiver, sender = _processes.Pipe(duplex=False)
        process = _processes.Process(
            target=_call, args=(sender, environment(rank, size, port), function, arguments)
        )
        process.start()
        sender.close()
        receivers.append(receiver)
        processes.append(process)
    return Begun(processes, receivers)


def command_line(size: int, *arguments: str | Path, log: Path) -> list[BaseProcess]:
    """Start the command line in so many processes, as torchrun does; what they say is in `log`."""
    port = free_port()
    processes = [
        _processes.Process(
            target=_command,
            args=(environment(rank, size, port), [str(a) for a in arguments], log),
        )
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    return processes


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun tells a process."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def stop(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.join(0.1)
        process.kill()
        process.join()


def _command(variables: dict[str, str], arguments: list[str], log: Path) -> None:
    os.environ.update(variables)
    with log.open("a") as sys.stderr, log.with_suffix(".out").open("a") as sys.stdout:
        from alexnet.cli import run

        code = run(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _receive(receiver: Any) -> tuple[bool, Any]:
    try:
        return pickle.loads(receiver.recv_bytes())  # type: ignore[no-any-return]
    except EOFError:
        return True, "a process ended without a result"


def _call(
    sender: Any, variables: dict[str, str], function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    os.environ.update(variables)
    try:
        result = (False, function(*arguments))
    except BaseException as error:
        result = (True, "".join(traceback.format_exception(error)))
    sender.send_bytes(pickle.dumps(result))  # plain pickles: shared memory would end with us
    sender.close()
    os._exit(0)
