"""Commands of ours for people to paste: what their shell would take apart is quoted."""

import shlex
from pathlib import Path


def quoted_command(*words: str | Path) -> str:
    """`alexnet` with these words."""
    return shlex.join(["alexnet", *map(str, words)])
