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

import torch

from alexnet.bench.peers import OnBytes, stock_translation
from alexnet.bench.turns import answering_step, training_step
from alexnet.errors import UserError
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
            last = said.read().decode(errors="replace").strip().splitlines()[-1:]
            reason = "".join(last) or "it was killed; is there enough memory?"
            raise UserError(f"the stock translation's process has ended: {reason}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()  # closes the pipes, and waits


def _work(what: str, batch_size: str) -> None:
    model = OnBytes(stock_translation())
    world = World(0, 1, torch.device("cpu"), "fp32")
    make = training_step if what == "train" else answering_step
    step = make(model, world, int(batch_size), contiguous=True)
    for _ in sys.stdin:
        step()
        print(flush=True)


if __name__ == "__main__":
    _work(*sys.argv[1:])
