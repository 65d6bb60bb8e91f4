"""Buffers of batches: never shared while held, used again afterwards."""

import threading

import torch

from alexnet.data.rooms import Rooms


def test_a_room_that_is_held_is_nobody_elses() -> None:
    rooms = Rooms()
    first = rooms.empty(2, 3)
    view = first.fill_(7).permute(1, 0)[:1]
    del first
    second = rooms.empty(2, 3).fill_(9)
    assert view.data_ptr() != second.data_ptr()
    assert view.tolist() == [[7, 7]]


def test_a_room_is_used_again_also_for_less_and_never_for_more() -> None:
    rooms = Rooms()
    place = rooms.empty(4, 5).data_ptr()
    smaller = rooms.empty(2, 5)
    assert smaller.data_ptr() == place
    assert smaller.shape == (2, 5)
    del smaller
    larger = rooms.empty(5, 5)
    assert larger.shape == (5, 5)
    larger.fill_(1)  # would write beyond a buffer that is too small


def test_many_threads_at_once() -> None:
    rooms, wrong = Rooms(), []

    def work(number: int) -> None:
        for _ in range(200):
            room = rooms.empty(64).fill_(number)
            if not torch.equal(room, torch.full((64,), number, dtype=torch.uint8)):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(rooms._free) <= 16  # a thread lets go of its room only once it has the next one
