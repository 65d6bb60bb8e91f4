"""How a run of several processes ends when one of them cannot go on: in one line, by one of them.

Whoever knows says it. A process that a user's mistake has stopped says so and forbids torchrun to
start it again. A process whose partner has gone or hangs says that, and ends with a code that lets
torchrun start all of them again from the last checkpoint. Everybody else ends in silence.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from alexnet.errors import (
    InterruptedRunError,
    PartnerLostError,
    SaidAlreadyError,
    UserError,
    within_memory,
)
from alexnet.parallel.world import (
    World,
    first_line,
    forbid_restart,
    may_be_restarted,
    started_size,
)
from alexnet.progress import complain

_LOST = re.compile(r"gloo|nccl|connection (closed|reset|refused)|timed out|timeout", re.IGNORECASE)


@contextmanager
def failing_clearly(world: World) -> Iterator[None]:
    """While open, an error in any process of the world is said once.

    Raises:
        SaidAlreadyError: in place of a user's error, here or of another process.
        PartnerLostError: in place of what torch.distributed raises; its text is empty if another
            process has said it.
        InterruptedRunError: without text, on all processes but the first.
    """
    try:
        with within_memory():
            yield
    except (UserError, InterruptedRunError, KeyboardInterrupt) as error:
        if world.size == 1:
            raise
        if isinstance(error, UserError):
            if _say_once(world, str(error)) and may_be_restarted():
                forbid_restart()
            raise SaidAlreadyError from error
        if world.is_first:
            raise
        raise InterruptedRunError from error
    except RuntimeError as error:
        if world.size == 1 or not _is_loss(error):
            raise
        again = "; starting again from the last checkpoint" if may_be_restarted() else ""
        _say_once(
            world,
            f"process {world.rank} of {world.size} has lost another one, which was killed, hangs "
            f"or cannot be reached any more ({first_line(error)}){again}",
        )
        raise PartnerLostError from error


def end_at_once(code: int) -> None:
    """End one of several processes without waiting for what it still expects from the others."""
    if started_size() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _say_once(world: World, line: str) -> bool:
    """Say why these processes end, unless another one has; whether this one has."""
    is_ours = world.is_first_to("say what happened")
    if is_ours:
        complain(" ".join(line.split()))
    return is_ours


def _is_loss(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or bool(_LOST.search(str(error)))
