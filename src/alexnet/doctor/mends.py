"""What to do with images that are bad, in the words of where they come from."""

from alexnet.data.folders import HELD_OUT
from alexnet.data.sources import Source

_PREPARE_ANEW = "mend the source and prepare it anew"


def anew_or_out(source: Source, anew: str) -> str:
    """The mend for images that are bad: get them `anew`, or leave them out of such a source."""
    if _is_prepared(source):
        return _PREPARE_ANEW
    leave_out = {"csv": "take their lines out of the list", "parquet": "leave their rows out"}
    return f"{anew}, or {leave_out.get(source.kind, 'delete them')}"


def out_of_one_side(source: Source, first: str, by_content: bool) -> str:
    """The mend for images that are on both sides of the split.

    Args:
        source: the data set.
        first: the key of one of them, in the validation split.
        by_content: whether they are the same files, which a split by content keeps together.
    """
    if _is_prepared(source):
        return _PREPARE_ANEW
    if source.kind == "csv":
        return "take their lines on one side out of the list"
    if source.kind == "parquet":
        return "leave their rows out of one side"
    folder = first.partition("/")[0]
    # A test/ would serve as the validation set where there is no other.
    if by_content and source.kind == "folder" and folder in HELD_OUT and source.test is None:
        return f"delete them on one side, or delete {folder}/ and let alexnet split by content"
    return "delete them on one side"


def _is_prepared(source: Source) -> bool:
    """Whether the images lie in shards, of which none can be taken out, whatever the kind."""
    return source.statistics is not None
