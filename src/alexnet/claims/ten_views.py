"""Section 4.1 and the footnote of section 6: ten patches instead of the central one."""

from collections.abc import Sequence
from dataclasses import replace

from alexnet.claims.claim import Claim, Finding, Measured, Run, Setting, seeded, values_of
from alexnet.claims.intervals import mean_of, verdict_on
from alexnet.claims.measures import errors_of_views
from alexnet.claims.photographs import REFERENCE, network_in_words, reference_run, seeds

# k, then centre patch, ten patches and gain of the paper and of the authors' log, on ILSVRC-2010.
_PUBLISHED = (
    (1, (39.0, 37.5, 1.5), (39.02, 37.47, 1.55)),
    (5, (18.3, 17.0, 1.3), (18.30, 17.00, 1.30)),
)
_NOTHING = (None, None, None)


def plan(setting: Setting, measured: Measured) -> Sequence[Run]:
    """The reference with every seed."""
    return seeded([replace(reference_run(setting), measure=errors_of_views)], seeds(setting))


def find(setting: Setting, measured: Measured) -> Finding:
    """Errors with one and ten views, and the gain, which is paired: the same weights both times."""
    quantities = []
    others = any(values.get("year") not in (None, 2010) for values in measured.values())
    for k, published, logged in _PUBLISHED:
        paper, logs = (_NOTHING, _NOTHING) if others else (published, logged)
        one, ten = (values_of(measured, REFERENCE, f"top{k}_error_{v}") for v in (1, 10))
        gains = [a - b for a, b in zip(one, ten, strict=True)]
        quantities += [
            mean_of(f"top-{k} error, centre patch", "%", one, paper[0], logs[0]),
            mean_of(f"top-{k} error, ten patches", "%", ten, paper[1], logs[1]),
            mean_of(f"top-{k} error, gain of ten patches", "points", gains, paper[2], logs[2]),
        ]
    words = verdict_on(quantities[2], "ten patches are better than one")
    after = "errors after the last epoch, all images of the validation split"
    return Finding(quantities, words, [*network_in_words(setting), after])


CLAIM = Claim(
    name="ten-views",
    section="4.1, 6",
    paper="on ILSVRC-2010 ten patches bring 39.0 and 18.3 to 37.5 and 17.0",
    logs="net 145-2010: 39.02 and 18.30 to 37.47 and 17.00",
    data="photographs",
    plan=plan,
    find=find,
)
