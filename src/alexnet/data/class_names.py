"""Class names of two places, matched as a reader would: a Mac writes `Ä` as `A` and two dots."""

import unicodedata
from collections.abc import Collection, Iterable


def matched(names: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Name → the known one that is the same or reads the same; the unknown are left out."""
    by_form = {_composed(name): name for name in known}
    same = {name: name if name in known else by_form.get(_composed(name)) for name in names}
    return {name: its_own for name, its_own in same.items() if its_own is not None}


def nearly(name: str, known: Iterable[str]) -> str:
    """The rest of a complaint about an unknown name, if a known one is nearly the same."""
    for other in known:
        if _folded(other) == _folded(name):
            return f"; {other!r} differs in case or form only"
    return ""


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
