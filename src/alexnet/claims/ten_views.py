"""Section 4.1 and the footnote of section 6: ten patches instead of the central one."""

from collections.abc import Sequence
from dataclasses import replace

from alexnet.claims.claim import Claim, Finding, Measured, Run, Setting, seeded, values_of
from alexnet.claims.intervals import mean_of, verdict_on
from alexnet.claims.measures import errors_of_views
from alexnet.claims.photographs import REFERENCE, notes, reference_run, seeds


def plan(setting: Setting, measured: Measured) -> Sequence[Run]:
    """The reference with every seed."""
    return seeded([replace(reference_run(setting), measure=errors_of_views)], seeds(setting))


def find(setting: Setting, measured: Measured) -> Finding:
    """Errors with one and ten views, and the gain, which is paired: the same weights both times."""
    quantities = []
    for k, paper in ((1, (39.0, 37.5)), (5, (18.3, 17.0))):
        one, ten = (values_of(measured, REFERENCE, f"top{k}_error_{v}") for v in (1, 10))
        gains = [a - b for a, b in zip(one, ten, strict=True)]
        logs = {1: (39.02, 37.47, 1.55), 5: (18.30, 17.00, 1.30)}[k]
        quantities += [
            mean_of(f"top-{k} error, centre patch", "%", one, paper[0], logs[0]),
            mean_of(f"top-{k} error, ten patches", "%", ten, paper[1], logs[1]),
            mean_of(
                f"top-{k} error, gain of ten patches", "points", gains, paper[0] - paper[1], logs[2]
            ),
        ]
    words = verdict_on(quantities[2], "ten patches are better than one")
    return Finding(quantities, words, notes(setting))


CLAIM = Claim(
    name="ten-views",
    section="4.1, 6",
    paper="on ILSVRC-2010 ten patches bring 39.0 and 18.3 to 37.5 and 17.0",
    logs="net 145-2010: 39.02 and 18.30 to 37.47 and 17.00",
    data="photographs",
    plan=plan,
    find=find,
)
