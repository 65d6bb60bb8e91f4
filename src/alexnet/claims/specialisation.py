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
from alexnet.claims.photographs import REFERENCE, network_in_words, reference_run, seeds

_LEVEL = 0.01  # of the test in a single run


def plan(setting: Setting, measured: Measured) -> Sequence[Run]:
    """The reference with every seed."""
    return seeded([replace(reference_run(setting), measure=kernel_colors)], seeds(setting))


def find(setting: Setting, measured: Measured) -> Finding:
    """How far the columns are apart in each run, and in how many a test tells them apart."""
    p_values = values_of(measured, REFERENCE, "p_value")
    high, low = (values_of(measured, REFERENCE, name) for name in ("high", "low"))
    apart = sum(p < _LEVEL for p in p_values)
    quantities = [
        mean_of(
            "mean colour selectivity, more colourful column",
            "of 1",
            high,
        ),
        mean_of("mean colour selectivity, other column", "of 1", low),
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
    every = "in every run" if apart == len(p_values) else "not in every run"
    words = f"{every}: the columns differ (p < {_LEVEL:g}) in {apart} of {len(p_values)}"
    kernels = next((2 * len(v["selectivity"][0]) for v in measured.values()), 0)
    explained = [
        *network_in_words(setting),
        f"{kernels} kernels; exact rank test, p seed by seed: {_listed(p_values)}",
        "mean selectivity seed by seed, more colourful and other column: "
        + "; ".join(_listed(pair) for pair in zip(high, low, strict=True)),
        "0: ignores colour, 1: sees nothing else; random weights have 0.67; where columns are "
        "alike the chance is above 0.5, for the more colourful one is chosen afterwards",
    ]
    return Finding(quantities, words if p_values else "not measured yet", explained)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2g}" for value in values)


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
