"""Workers that turn encoded images into encoded squares: this process, and others beside it.

Processes, because Pillow holds the interpreter's lock while it encodes; plain child processes with
two pipes, because `multiprocessing` would import the caller's script in each. One arithmetic thread
each: they are as many as the cores. The first worker is a thread of this process: it begins at
once, while the others start, and its images go through no pipe.
"""

import fcntl
import os
import pickle
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import alexnet
from alexnet.data.square_worker import Settings, Squares, make_squares
from alexnet.errors import UserError

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_PIPE_BYTES = 1 << 20  # so that neither side waits for the other in the middle of an image
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Memory for the next image is that of the last: glibc would give it back and fetch it again.
    "MALLOC_MMAP_THRESHOLD_": "268435456",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
}


class WorkerPool:
    """As many workers as asked for; a context manager that ends the processes among them."""

    def __init__(self, workers: int, settings: Settings) -> None:
        self._settings = settings
        self._processes = [_start() for _ in range(workers - 1)]
        self._idle: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        for process in self._processes:
            _send(process, settings)
            self._idle.put(process)
        self._idle.put(None)  # this process

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with suppress(BrokenPipeError):  # it held something that nobody will read
                    pipe.close()

    def run(self, images: Iterable[bytes], with_sums: bool) -> Squares:
        """Have one worker make squares of some images; may be called from several threads.

        Raises:
            UserError: a process died.
        """
        process = self._idle.get()
        try:
            if process is None:
                return make_squares(iter(images), self._settings, with_sums)
            return _ask(process, images, with_sums)
        except (BrokenPipeError, EOFError, pickle.UnpicklingError):
            raise UserError(
                "a worker process died, perhaps for lack of memory; what is finished is kept: run "
                "the same command again, with fewer --workers"
            ) from None
        finally:
            self._idle.put(process)


def in_order(
    function: Callable[[_Task], _Result], tasks: Iterable[_Task], threads: int
) -> Generator[_Result, None, None]:
    """`map` by several threads that run a little ahead; the first error ends it."""
    ahead: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for task in tasks:
            ahead.append(pool.submit(function, task))
            if len(ahead) > 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start() -> "subprocess.Popen[bytes]":
    package = str(Path(alexnet.__file__).parents[1])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(  # -P: without the modules that lie where the user stands
        [sys.executable, "-P", "-c", "from alexnet.data.square_worker import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": path},
        process_group=0,  # Ctrl-C is for the parent
    )
    for pipe in (process.stdin, process.stdout):
        _widen(pipe)
    return process


def _widen(pipe: Any) -> None:
    """Make a pipe hold a whole image, where the system knows how and has any room left for us."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # Linux gives all pipes of a user 64 MiB
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _ask(process: "subprocess.Popen[bytes]", images: Iterable[bytes], with_sums: bool) -> Squares:
    """One request and its reply; a process left in the middle of one is of no use any more."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        _send(process, with_sums)
        for image in images:
            _send(process, image)
        _send(process, None)
        process.stdin.flush()
        squares: Squares = pickle.load(process.stdout)
    except BaseException:
        process.kill()
        raise
    return squares


def _send(process: "subprocess.Popen[bytes]", message: Any) -> None:
    assert process.stdin is not None
    pickle.dump(message, process.stdin, protocol=5)
