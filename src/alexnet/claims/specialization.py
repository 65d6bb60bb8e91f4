"""Figure 3: do the columns of the first layer divide colour between them?

"The kernels on GPU 1 are largely color-agnostic, while the kernels on GPU 2 are largely
color-specific. This kind of specialization occurs during every run and is independent of any
particular random weight initialization (modulo a renumbering of the GPUs)."
"""

from collections.abc import Sequence
from dataclasses import replace

from alexnet.claims.claim import Claim, Finding, Measured, Run, Setting, seeded, values_of
from alexnet.claims.intervals import mean_of
from alexnet.claims.measures import kernel_colors
from alexnet.claims.photographs import REFERENCE, reference_run, seeds

_LEVEL = 0.01  # of the test in a single run


def plan(setting: Setting, measured: Measured) -> Sequence[Run]:
    """The reference with every seed."""
    return seeded([replace(reference_run(setting), measure=kernel_colors)], seeds(setting))


def find(setting: Setting, measured: Measured) -> Finding:
    """How far the columns are apart in each run, and in how many a test tells them apart."""
    p_values = values_of(measured, REFERENCE, "p_value")
    apart = sum(p < _LEVEL for p in p_values)
    quantities = [
        mean_of(
            "mean colour selectivity, more colourful column",
            "of 1",
            values_of(measured, REFERENCE, "high"),
        ),
        mean_of(
            "mean colour selectivity, other column", "of 1", values_of(measured, REFERENCE, "low")
        ),
        mean_of(
            "chance that its kernel is the more colourful",
            "of 1",
            values_of(measured, REFERENCE, "superiority"),
        ),
        mean_of(
            "kernels grown to twice their first size",
            "%",
            values_of(measured, REFERENCE, "learned"),
        ),
    ]
    words = f"the columns differ (p < {_LEVEL:g}) in {apart} of {len(p_values)} runs"
    listed = ", ".join(f"{p:.2g}" for p in p_values)
    notes = [
        f"p of the rank test, seed by seed: {listed}",
        "0: ignores colour, 1: sees nothing else; random weights have 0.67; where columns are "
        "alike the chance is a little above 0.5, for the more colourful one is chosen afterwards",
    ]
    return Finding(quantities, words if p_values else "not measured yet", notes)


CLAIM = Claim(
    name="specialisation",
    section="6.1, Figure 3",
    paper="in every run the kernels of one column are largely colour-agnostic, those of the other "
    "largely colour-specific",
    logs="no kernels are in the release",
    data="photographs",
    plan=plan,
    find=find,
)
