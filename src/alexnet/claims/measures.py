"""What is measured of a finished run. Each function takes a run directory and returns numbers."""

import math
from pathlib import Path
from typing import Any

from alexnet.claims.claim import Values
from alexnet.training.metrics import read_metrics


def last_errors(run: Path) -> Values:
    """Errors in percent after the last epoch, centre patch; not of the best epoch.

    The best of many evaluations on the same images flatters, and flatters most the arm that
    fluctuates most. The curve over the epochs comes along.
    """
    rows = read_metrics(run / "metrics.jsonl")
    validations = [row for row in rows if row["split"] == "val"]
    trainings = [row for row in rows if row["split"] == "train"]
    last = validations[-1]
    return {
        "top1_error": 100.0 * last["top1_error"],
        "top5_error": 100.0 * last["top5_error"],
        "train_top1_error": 100.0 * trainings[-1]["top1_error"],
        "epochs": last["epoch"],
        "curve": [[row["epoch"], 100.0 * row["top1_error"]] for row in validations],
        "images_per_second": trainings[-1]["images_per_second"],
    }


def epochs_until(rows: list[dict[str, Any]], error: float) -> float | None:
    """Epochs until the training error first is below `error`, interpolated; None: never.

    A row holds the error on the images since the row before it, each seen before its update, as
    cuda-convnet prints it; it counts for the middle of that stretch.
    """
    before: tuple[float, float] | None = None
    begin = 0.0
    for row in (row for row in rows if row["split"] == "train"):
        middle, begin = (begin + row["epoch"]) / 2, row["epoch"]
        value = row["top1_error"]
        if value is None or not math.isfinite(value):
            return None
        if value <= error:
            if before is None or before[1] == value:
                return float(middle)
            share = (before[1] - error) / (before[1] - value)
            return float(before[0] + share * (middle - before[0]))
        before = (middle, value)
    return None
