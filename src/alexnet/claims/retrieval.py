"""Figure 4: neighbours in the last hidden layer are of the same kind; neighbours in pixels are not.

The paper shows five queries with six training images each. Here the validation images are queries,
all of them or 4,096 spread evenly, and what is counted is how many of the six neighbours of each
are of its class.
"""

from collections.abc import Sequence
from dataclasses import replace

from alexnet.claims.claim import Claim, Finding, Measured, Run, Setting, seeded, values_of
from alexnet.claims.intervals import mean_of, verdict_on
from alexnet.claims.measures import neighbor_precision
from alexnet.claims.photographs import REFERENCE, network_in_words, reference_run, seeds


def plan(setting: Setting, measured: Measured) -> Sequence[Run]:
    """The reference with every seed."""
    return seeded([replace(reference_run(setting), measure=neighbor_precision)], seeds(setting))


def find(setting: Setting, measured: Measured) -> Finding:
    """Same-class neighbours in fc7 and in pixels."""
    hidden = values_of(measured, REFERENCE, "hidden")
    pixels = values_of(measured, REFERENCE, "pixels")
    differences = [ours - theirs for ours, theirs in zip(hidden, pixels, strict=True)]
    better = mean_of("the difference, network by network", "points", differences)
    return Finding(
        [
            mean_of("of 6 nearest training images by fc7, same class", "%", hidden),
            mean_of("of 6 nearest by pixels, same class", "%", pixels),
            better,
        ],
        verdict_on(better, "neighbours in the last hidden layer are more alike than in pixels"),
        [
            *network_in_words(setting),
            f"Euclidean distances; queries: {_queries(measured)} validation images; centre patches",
        ],
    )


def _queries(measured: Measured) -> str:
    """How many, where the runs say so; before they did, all of the smaller sets."""
    asked = next((values["queries"] for values in measured.values() if "queries" in values), None)
    return "the" if asked is None else f"{asked:,}"


CLAIM = Claim(
    name="retrieval",
    section="6.1, Figure 4",
    paper="images with close activations of the last hidden layer are similar, though their pixels "
    "are not close",
    logs="findsimilar.py does the same; no numbers",
    data="photographs",
    plan=plan,
    find=find,
)
