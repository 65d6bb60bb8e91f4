"""Results in words."""

from typing import Any


def errors_in_words(result: dict[str, Any], classes: int) -> str:
    """One line: the error rates of a run or an evaluation, with their interval.

    Of up to five classes the right one is always among the first five.
    """
    from alexnet.data.sources import SPLITS

    low, high = result["top1_error_interval"]
    views = {1: "centre patch", 9: "nine patches", 10: "ten patches"}[result["views"]]
    top5 = f", top-5 error {result['top5_error']:.2%}" if classes > 5 else ""
    return (
        f"top-1 error {result['top1_error']:.2%} (95 % interval {low:.2%} to {high:.2%}){top5} "
        f"on {result['images']} {SPLITS[result.get('split', 'val')]}, {views}"
    )
