"""Compile a C file of this folder once for this processor, and load it.

Compiled where it runs, because a loop built for the processor at hand is several times faster than
one that any processor could run. Nothing needs a compiler: whoever calls `library` has another way
of doing the same, and takes it where the answer is None.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sysconfig
import tempfile
import threading
from pathlib import Path

from alexnet.files import CannotWriteError, cache_folder, write_atomically
from alexnet.progress import say

_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_SECONDS_TO_COMPILE = 120.0
_one_at_a_time = threading.Lock()


class _CannotBuildError(Exception):
    """Why there is no compiled library here, in one line."""


def library(name: str, *, threads: bool = False) -> ctypes.CDLL | None:
    """The compiled `NAME.c` of this folder, or None, with the reason said once, where it cannot be.

    Set ALEXNET_NATIVE=0 to do without. The result is kept below ALEXNET_CACHE, by default the
    user's cache folder, under a name made of the source, the compiler and the processor.

    Args:
        name: of the file, without its ending.
        threads: compile its OpenMP directives; torch's own runtime serves them if torch has been
            imported before, so that `torch.set_num_threads` holds.
    """
    with _one_at_a_time:  # all decoding threads ask at once, and one of them shall compile
        return _loaded(name, threads)


@functools.cache
def _loaded(name: str, threads: bool) -> ctypes.CDLL | None:
    if os.environ.get("ALEXNET_NATIVE") == "0":
        return None
    flags = (*_FLAGS, *(["-fopenmp"] if threads else []))
    try:
        return ctypes.CDLL(str(_built(name, flags)))
    except (_CannotBuildError, CannotWriteError, OSError) as error:
        say(f"without compiled loops for {name} ({error}): the same results, but slower")
        return None


def _built(name: str, flags: tuple[str, ...]) -> Path:
    source = Path(__file__).with_name(f"{name}.c")
    compiler = _compiler()
    texts = [path.read_text(encoding="utf-8") for path in (source, *_headers())]
    key = "\0".join([*texts, *flags, compiler, processor()])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{name}-{digest}.so"
    if not path.exists():
        write_atomically(path, lambda temporary: _compile(compiler, flags, source, temporary))
    return path


def _headers() -> list[Path]:
    """What any of the C files may include."""
    return sorted(Path(__file__).parent.glob("*.h"))


def _compile(compiler: str, flags: tuple[str, ...], source: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "made.so"
        command = [*compiler.split(), *flags, str(source), "-o", str(made), "-lm"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_SECONDS_TO_COMPILE
            )
        except subprocess.TimeoutExpired:
            raise _CannotBuildError("the compiler did not end") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line] or ["no reason"]
            raise _CannotBuildError(f"{compiler} failed: {lines[0].strip()}")
        shutil.copyfile(made, target)


def _compiler() -> str:
    """The C compiler's command: CC, or what is usual."""
    named = os.environ.get("CC") or sysconfig.get_config_var("CC") or ""
    for command in (named, "cc", "gcc", "clang"):
        if command and shutil.which(command.split()[0]):
            return command
    raise _CannotBuildError("no C compiler; install gcc or clang")


def processor() -> str:
    """Which processor this is, with all that it can do: what -march=native depends on."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text(encoding="utf-8").splitlines()
        found = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
        return "\n".join(sorted(set(found)))
    return f"{platform.machine()} {platform.processor()}"
