"""What did the user mean? One wording for every unknown name."""

import difflib
from collections.abc import Iterable


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """One line: the name is unknown, perhaps another was meant, and these are all there are."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown {kind} {name!r}{meant} (known: {', '.join(known)})"
