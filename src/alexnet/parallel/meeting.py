"""How processes that were started together find each other, and nobody else.

torchrun keeps its table of keys when it starts processes again, with the addresses of the dead in
it; a process that believes them waits for the dead. So the processes first agree on a name for this
meeting, and use only keys that begin with it:

    the first process draws a name and writes it down;
    every other one reads the name and answers with a number it has drawn;
    the first one, when all have answered, writes down all answers under the name;
    whoever finds its own answer there knows that name and partners are of today.
"""

import json
import time
import uuid
from datetime import timedelta
from typing import Any

from torch.distributed.distributed_c10d import PrefixStore

_NAME = "alexnet/meeting"
_PAUSE = 0.01  # seconds between two looks


def meet(store: Any, rank: int, size: int, timeout_seconds: float) -> Any:
    """The part of a table that belongs to this meeting alone.

    Raises:
        RuntimeError: not everybody came in time.
    """
    name = (
        _invite(store, size, timeout_seconds)
        if rank == 0
        else _accept(store, rank, timeout_seconds)
    )
    return PrefixStore(f"{_NAME}/{name}", store)


def _invite(store: Any, size: int, timeout_seconds: float) -> str:
    name = uuid.uuid4().hex
    store.set(_NAME, name)
    keys = [_answer(name, rank) for rank in range(1, size)]
    store.wait(keys, timedelta(seconds=timeout_seconds))
    store.set(_list(name), json.dumps([store.get(key).decode() for key in keys]))
    return name


def _accept(store: Any, rank: int, timeout_seconds: float) -> str:
    end = time.monotonic() + timeout_seconds
    answer, answered = uuid.uuid4().hex, ""
    while time.monotonic() < end:
        name = store.get(_NAME).decode()
        if name != answered:
            store.set(_answer(name, rank), answer)
            answered = name
        if store.check([_list(name)]) and json.loads(store.get(_list(name)))[rank - 1] == answer:
            return str(name)
        time.sleep(_PAUSE)
    raise RuntimeError("timed out: the first process has not answered")


def _answer(name: str, rank: int) -> str:
    return f"{_NAME}/{name}/answer/{rank}"


def _list(name: str) -> str:
    return f"{_NAME}/{name}/list"
