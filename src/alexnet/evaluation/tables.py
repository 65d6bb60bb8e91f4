"""Tables of an evaluation for a terminal."""

import numpy as np

from alexnet.evaluation.evaluate import Evaluation
from alexnet.evaluation.metrics import wilson_interval


def per_class_lines(measured: Evaluation) -> list[str]:
    """One line a class, most errors first: error, interval, images, what it is mistaken for."""
    predicted = measured.probabilities.argmax(1)
    width = max(len(name) for name in ("class", *measured.classes))
    rows = []
    for number, name in enumerate(measured.classes):
        mine = measured.labels == number
        count = int(mine.sum())
        if not count:
            continue
        wrong = predicted[mine & (predicted != number)]
        error = len(wrong) / count
        low, high = wilson_interval(error, count)
        mistaken = measured.classes[int(np.bincount(wrong).argmax())] if len(wrong) else "-"
        line = f"{name:{width}}  {error:7.2%}  {low:6.1%} to {high:6.1%}  {count:6}  {mistaken}"
        rows.append((-error, name, line))
    header = f"{'class':{width}}  {'error':>7}  {'95 % interval':>16}  images  mostly taken for"
    return [header, *(line for _, _, line in sorted(rows))]
