"""What the user calls a storage: "folder", "journal", or a URL that Optuna knows."""

import re
from pathlib import Path


def lasting_storage(storage: str) -> str:
    """The storage such that it is the same from another working directory."""
    relative = re.fullmatch(r"(sqlite(?:\+\w+)?:///)([^/].*)", storage)
    return f"{relative[1]}{Path(relative[2]).absolute()}" if relative else storage


def shown_storage(storage: str) -> str:
    """The storage as it may be printed: a password in a URL is left out."""
    return re.sub(r"(://[^:/@]*):[^/]*@", r"\1:***@", storage)
