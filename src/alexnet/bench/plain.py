"""The stock translation as its user runs it: in a process without what this package sets up.

The command line lets freed memory stay with the process, and threads wait shortly before they
sleep; in such a process a network written without any care is faster, too. So on a processor the
stock translation works in a process of its own, a step whenever it is told to.
"""

import contextlib
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace

import torch

from alexnet.bench.peers import OnBytes, stock_translation
from alexnet.bench.turns import answering_step, training_step
from alexnet.errors import UserError, last_line
from alexnet.parallel.world import World
from alexnet.process import SETTINGS


def plain_environment() -> dict[str, str]:
    """This process's, without the variables that the command line sets."""
    return {name: value for name, value in os.environ.items() if name not in SETTINGS}


class PlainStep:
    """A step of the stock translation in float32 on the processor, done in a process of its own.

    Args:
        what: train or infer.
        batch_size: images.
    """

    def __init__(self, what: str, batch_size: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "alexnet.bench.plain", what, str(batch_size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=plain_environment(),
        )
        weakref.finalize(self, _end, self._process)

    def __call__(self) -> None:
        """Do one step, and wait for it.

        Raises:
            UserError: the process has ended, such as for want of memory.
        """
        told, answers, said = self._process.stdin, self._process.stdout, self._process.stderr
        assert told
        assert answers
        assert said
        with contextlib.suppress(BrokenPipeError):
            told.write(b"\n")
            told.flush()
        if not answers.readline():
            reason = last_line(said.read()) or "it was killed; is there enough memory?"
            raise UserError(f"the stock translation's process has ended: {reason}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()  # closes the pipes, and waits


def stock_step(what: str, world: World, batch_size: int) -> Callable[[], None]:
    """A step of the stock translation as written, in float32, in this process.

    Args:
        what: train or infer.
        world: device.
        batch_size: images.
    """
    model = OnBytes(stock_translation()).to(world.device)
    make = training_step if what == "train" else answering_step
    return make(model, replace(world, precision="fp32"), batch_size, contiguous=True)


def _work(what: str, batch_size: str) -> None:
    step = stock_step(what, World(0, 1, torch.device("cpu"), "fp32"), int(batch_size))
    for _ in sys.stdin:
        step()
        print(flush=True)


if __name__ == "__main__":
    _work(*sys.argv[1:])
