"""Decisions that all processes must take in the same step, without waiting for each other.

A signal reaches one process earlier than another, and clocks differ; yet all must save and stop
after the same step. Each step every process says what it wishes and hears what anybody wished in
the step *before*: the little sum travels while the step is computed. It is also where a process
that has gone or hangs is noticed by the others.
"""

from typing import Any

import torch
import torch.distributed as dist

from alexnet.parallel.world import World


class Agreement:
    """What the processes of a world wish."""

    def __init__(self, world: World) -> None:
        self._alone = world.size == 1
        self._under_way: tuple[Any, torch.Tensor] | None = None

    def ask(self, *wishes: bool) -> tuple[bool, ...]:
        """Say what this process wishes now; returns what any wished at the last call.

        Alone, the wishes themselves. All processes must ask equally often, with as many wishes.
        """
        if self._alone:
            return wishes
        answers = self._answers() or (False,) * len(wishes)
        counts = torch.tensor([int(wish) for wish in wishes])
        work = dist.all_reduce(counts, async_op=True)
        self._under_way = (work, counts)
        return answers

    def finish(self) -> None:
        """Let the last question arrive before anything else is sent or the process ends."""
        self._answers()

    def _answers(self) -> tuple[bool, ...]:
        if self._under_way is None:
            return ()
        work, counts = self._under_way
        self._under_way = None
        work.wait()
        return tuple(count > 0 for count in counts.tolist())
