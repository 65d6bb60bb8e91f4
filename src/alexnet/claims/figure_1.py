"""Figure 1 of the paper from a result of the claim `relu`: training error over epochs."""

import io
from typing import TYPE_CHECKING, Any

from alexnet.claims.scales import find_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours for all kinds of colour vision; the paper has solid and dashed lines.
_STYLES = {"relu": ("#0072b2", "-"), "tanh": ("#d55e00", "--"), "sigmoid": ("#5b6570", ":")}
_NAMES = {"relu": "ReLU", "tanh": "tanh", "sigmoid": "sigmoid"}


def has_figure_1(document: dict[str, Any]) -> bool:
    """Whether a result holds curves to draw."""
    return any(_curves(document, units) for units in _STYLES)


def figure_1(document: dict[str, Any]) -> str:
    """The figure as an SVG file: every seed of every kind of unit, each kind with its own rate."""
    import matplotlib
    from matplotlib.figure import Figure

    # The same file every time, with texts that stay texts.
    with matplotlib.rc_context({"svg.hashsalt": "figure-1", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.0, 3.6), layout="constrained")
        axes = figure.subplots()
        for units in _STYLES:
            _draw(axes, units, _curves(document, units))
        axes.axhline(
            100.0 * find_scale(document["scale"]).cifar.goal, color="#5b6570", linewidth=0.8
        )
        axes.set(xlabel="epochs", ylabel="training error (%)", xlim=(0, None), ylim=(0, 100))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        stream = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=nothing)
    return stream.getvalue()


def _curves(document: dict[str, Any], units: str) -> list[list[list[float]]]:
    """The curves of the runs that count: seed 0 has looked for the rate."""
    if document["claim"] != "relu":
        return []
    return [
        run["train_curve"]
        for run in document["runs"]
        if run["arm"].startswith(f"figure-1-{units}-") and run["seed"] and run.get("train_curve")
    ]


def _draw(axes: "Axes", units: str, curves: list[list[list[float]]]) -> None:
    color, line = _STYLES[units]
    for number, curve in enumerate(curves):
        epochs, errors = zip(*curve, strict=True)
        axes.plot(
            epochs,
            [100.0 * error for error in errors],
            line,
            color=color,
            linewidth=1.4,
            label=None if number else _NAMES[units],
        )
