"""Section 3.3: local response normalisation in the full net, on and off."""

from alexnet.claims.photographs import ablation

CLAIM = ablation(
    name="normalisation-full-net",
    section="3.3",
    paper="response normalisation lowers top-1 and top-5 error by 1.4 and 1.2",
    logs="net 148 against 145, ILSVRC-2012 validation, ten views: 1.37 and 1.15; 148 lacks the "
    "additional same-map normalisation too",
    expected="without normalisation it is worse",
    arms={"no-normalisation": ("model.normalization=false",)},
    published={"no-normalisation": (1.4, 1.2)},
    logged={"no-normalisation": (1.37, 1.15)},
)
