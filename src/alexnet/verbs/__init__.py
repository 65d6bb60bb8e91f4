"""The verbs of the command line, thin: each imports what it needs when it runs."""

from alexnet.verbs import (  # importing a verb adds it to the group
    bench,
    doctor,
    evaluate,
    figures,
    info,
    plan,
    predict,
    prepare,
    reproduce,
    train,
    tune,
)
from alexnet.verbs.group import verbs

__all__ = [
    "bench",
    "doctor",
    "evaluate",
    "figures",
    "info",
    "plan",
    "predict",
    "prepare",
    "reproduce",
    "train",
    "tune",
    "verbs",
]
