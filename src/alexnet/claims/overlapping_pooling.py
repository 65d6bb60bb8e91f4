"""Section 3.4: pooling windows that overlap."""

from alexnet.claims.photographs import ablation

CLAIM = ablation(
    name="overlapping-pooling",
    section="3.4",
    paper="windows of 3 with stride 2 lower top-1 and top-5 error by 0.4 and 0.3 against 2 with 2",
    logs="net 147 against 145, ILSVRC-2012 validation, ten views: 0.39 and 0.30",
    expected="pooling without overlap is worse",
    arms={"non-overlapping": ("model.pooling=non-overlapping",)},
    published={"non-overlapping": (0.4, 0.3)},
    logged={"non-overlapping": (0.39, 0.30)},
)
