"""How much memory a container leaves to this process: the limits of Linux's control groups."""

from collections.abc import Iterator
from pathlib import Path

# Limit, what is in use, and what of that is cached files that go as soon as others need the room.
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")


def allowed_bytes(root: Path = Path("/")) -> int | None:
    """Bytes that may be taken before the tightest limit is reached; None where there is none.

    Args:
        root: of the file system; another one for tests.
    """
    free = [left for folder, names in _groups(root) if (left := _left(folder, *names)) is not None]
    return min(free, default=None)


def _groups(root: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """The groups that this process is in, and those above them, whose limits hold too."""
    listed = root / "proc/self/cgroup"
    if not listed.exists():
        return
    mounted = root / "sys/fs/cgroup"
    for line in listed.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            top, names = mounted / "memory", _VERSION_1
        elif not controllers:
            top, names = mounted, _VERSION_2
        else:
            continue
        # A container may see its own group as the top, whatever its path is outside.
        own = top / path.lstrip("/")
        yield from ((folder, names) for folder in (own, *own.parents) if folder.is_relative_to(top))


def _left(folder: Path, limit: str, used: str, cached: str) -> int | None:
    """Limit minus use in one group; None where it has no limit."""
    try:
        most = int((folder / limit).read_text())
        in_use = int((folder / used).read_text())
        statistics = (folder / "memory.stat").read_text().split()
    except (OSError, ValueError):  # no such group, or "max"
        return None
    values = dict(zip(statistics[::2], statistics[1::2], strict=False))
    return max(0, most - in_use + int(values.get(cached, 0)))
