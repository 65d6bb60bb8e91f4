"""The exceptions that cross rooms, and how those of libraries are quoted."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|ALLOC_FAILED", re.IGNORECASE)


class UserError(Exception):
    """Something the user can mend: one line that says what is wrong and how to mend it.

    The command line prints it without a traceback and exits with code 2.
    """


class CannotLearnError(UserError):
    """A run was stopped because it visibly cannot learn; with other settings another one may.

    Args:
        cause: what was seen, and what it means.
        mend: what to do.
    """

    def __init__(self, cause: str, mend: str) -> None:
        super().__init__(cause, mend)
        self.cause, self.mend = cause, mend

    def __str__(self) -> str:
        """One line."""
        return f"{self.cause}; {self.mend}"


class InterruptedRunError(Exception):
    """A run was asked to stop, and its state is saved; the command line exits with code 130.

    Attributes:
        run: the directory with which `alexnet.resume` continues, where it is that of one run.
    """

    def __init__(self, said: str = "", run: Path | None = None) -> None:
        super().__init__(said)
        self.run = run


class PartnerLostError(Exception):
    """Another process of the run has gone or does not answer; a restart can go on from the save.

    The command line prints it without a traceback and exits with code 1, so that torchrun, which
    sees the code, may start all processes again.
    """


class OutOfMemoryError(UserError):
    """The memory of the device or the machine does not hold what was wanted."""


class DamagedRunError(UserError):
    """Nothing that a run has saved can be read."""


class ProcessesLostError(UserError):
    """Processes of a run have ended again and again; what it saved is there to go on from."""


class SaidAlreadyError(UserError):
    """A user's error that another process has printed; this one ends in silence."""


class PausedRunError(Exception):
    """A run has come to where it was to pause, and its state is saved."""


@contextmanager
def within_memory() -> Iterator[None]:
    """While open, memory that is not there is a user's error, whoever asked for it.

    Raises:
        OutOfMemoryError: in place of what Python, torch or a GPU's library says.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(str(error)):
            raise
        raise OutOfMemoryError(
            "the memory does not hold this: use a smaller --batch-size, --set "
            "train.micro_batch_size=N (the same batch in several passes) or a smaller network"
        ) from error


def in_a_line(error: BaseException) -> str:
    """What an error of a library says, without line breaks; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def last_line(said: str | bytes) -> str:
    """Of what a process has said: in a traceback, the line that tells what was wrong."""
    text = said if isinstance(said, str) else said.decode(errors="replace")
    return "".join(text.strip().splitlines()[-1:])
