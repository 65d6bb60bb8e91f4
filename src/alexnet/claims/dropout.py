"""Section 4.2: dropout against over-fitting, at the price of iterations."""

from collections.abc import Sequence

from alexnet.claims.claim import Finding, Measured, Quantity, Setting, values_of
from alexnet.claims.intervals import difference_of, noise_of, ratio_of
from alexnet.claims.measures import crossing
from alexnet.claims.photographs import REFERENCE, ablation

_WITHOUT = "no-dropout"
_SHARES = (0.5, 0.75, 1.0)  # of the way down
Curve = Sequence[Sequence[float]]
"""(epoch, error in percent) of every evaluation, in order."""


def _iterations(setting: Setting, measured: Measured) -> Finding:
    """How many epochs more dropout needs to the same errors; and the over-fitting."""
    curves = {
        arm: [v["curve"] for (other, _), v in sorted(measured.items()) if other == arm]
        for arm in (REFERENCE, _WITHOUT)
    }
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
            *(_ratio(curves, share) for share in _SHARES),
            difference_of(
                "validation minus training error, without dropout minus with",
                "points",
                gaps[_WITHOUT],
                gaps[REFERENCE],
                noise=noise_of(gaps.values()),
            ),
        ],
        "",
        [
            "epochs to a share of the way down from 100 % error to the highest of the final "
            "errors, which every run reaches; the rate falls to zero at the end of every run, so "
            "all ends lie close together and only the way there tells how fast an arm is",
            "training errors of the arm with dropout are those of its masked networks",
        ],
    )


def _ratio(curves: dict[str, list[Curve]], share: float) -> Quantity:
    highest = max((curve[-1][1] for arm in curves.values() for curve in arm), default=0.0)
    level = max(highest, 100.0 - share * (100.0 - highest))  # the sum may be rounded below it
    epochs = {arm: [_epochs_to(curve, level) for curve in found] for arm, found in curves.items()}
    name = (
        f"epochs to {100 * share:.0f} % of the way ({level:.0f} % error), with dropout over without"
    )
    return ratio_of(name, epochs[REFERENCE], epochs[_WITHOUT], paper=2.0)


def _epochs_to(curve: Curve, level: float) -> float:
    """Epochs until the error first is at the level, which every run reaches."""
    epochs = crossing([(0.0, 100.0), *curve], level)
    assert epochs is not None  # the level is no lower than the highest of the final errors
    return epochs


CLAIM = ablation(
    name="dropout",
    section="4.2",
    paper="without dropout the net overfits substantially; dropout roughly doubles the iterations",
    logs="nothing isolates either",
    expected="without dropout it is worse",
    arms={_WITHOUT: ("model.dropout=0",)},
    also=_iterations,
)
