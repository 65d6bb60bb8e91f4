"""Processes meet the partners of today in a table that remembers those of yesterday."""

import json
import threading
from datetime import timedelta

import pytest
import torch.distributed as dist

from alexnet.parallel.meeting import meet


def gather(store: dist.Store, size: int) -> list[str]:
    """What each of so many threads finds under the key of the first one."""
    found = [""] * size

    def come(rank: int) -> None:
        own = meet(store.clone(), rank, size, 20.0)
        if rank == 0:
            own.set("word", str(id(found)))
        found[rank] = own.get("word").decode()

    threads = [threading.Thread(target=come, args=(rank,)) for rank in reversed(range(size))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("size", [2, 3])
def test_every_start_is_a_meeting_of_its_own(size: int) -> None:
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=20))
    first, second = gather(store, size), gather(store, size)
    assert len(set(first)) == len(set(second)) == 1
    assert first[0]


def test_the_name_of_the_dead_is_not_believed() -> None:
    """A list for another process of the same rank lies in the table; nobody invites today."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=5))
    store.set("alexnet/meeting", "old")
    store.set("alexnet/meeting/old/list", json.dumps(["answer of the dead"]))
    with pytest.raises(RuntimeError, match="timed out"):
        meet(store, 1, 2, 0.3)
    with pytest.raises(RuntimeError):
        meet(store, 0, 2, 0.3)
