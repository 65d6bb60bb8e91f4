"""Section 4.2: dropout against over-fitting, at the price of iterations."""

from alexnet.claims.claim import Finding, Measured, Setting, values_of
from alexnet.claims.intervals import difference_of, ratio_of
from alexnet.claims.photographs import REFERENCE, ablation

_WITHOUT = "no-dropout"


def _iterations(setting: Setting, measured: Measured) -> Finding:
    """Epochs to the highest of the final errors, which every run reaches; and the over-fitting."""
    curves = {
        arm: [v["curve"] for (other, _), v in sorted(measured.items()) if other == arm]
        for arm in (REFERENCE, _WITHOUT)
    }
    level = max((c[-1][1] for arm in curves.values() for c in arm), default=0.0)
    epochs = {arm: [_first(curve, level) for curve in found] for arm, found in curves.items()}
    gaps = {
        arm: [
            test - train
            for test, train in zip(
                values_of(measured, arm, "top1_error"),
                values_of(measured, arm, "train_top1_error"),
                strict=True,
            )
        ]
        for arm in curves
    }
    return Finding(
        [
            ratio_of(
                f"epochs to {level:.0f} % error, with dropout over without",
                epochs[REFERENCE],
                epochs[_WITHOUT],
                paper=2.0,
            ),
            difference_of(
                "validation minus training error, without dropout minus with",
                "points",
                gaps[_WITHOUT],
                gaps[REFERENCE],
            ),
        ],
        "",
        ["training errors of the arm with dropout are those of its masked networks"],
    )


def _first(curve: list[list[float]], level: float) -> float:
    return next(epoch for epoch, error in curve if error <= level)


CLAIM = ablation(
    name="dropout",
    section="4.2",
    paper="without dropout the net overfits substantially; dropout roughly doubles the iterations",
    logs="nothing isolates either",
    expected="without dropout it is worse",
    arms={_WITHOUT: ("model.dropout=0",)},
    also=_iterations,
)
