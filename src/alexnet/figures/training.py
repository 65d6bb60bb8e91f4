"""How weights and activations changed over the training, from the run's own log."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet.figures.style import INK, MUTED, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]

_MARKS = "osD^v<>P"


def has_vitals(rows: Sequence[Row]) -> bool:
    """Whether the log of a run tells more of it than loss and error."""
    return sum("update_ratios" in row for row in rows) > 1


def training_figure(rows: Sequence[Row]) -> "Figure":
    """Weights, updates, outputs and dead units by layer, and how much answers depend on images.

    Args:
        rows: of metrics.jsonl, with what `Watch.measure` adds to some of them.
    """
    figure = new_figure(9.0, 5.6)
    (weights, updates, outputs), (dead, signal, legend) = figure.subplots(2, 3)
    depth = len(_layers(rows, "update_ratios"))
    for axes, key, words in (  # runs of earlier versions lack some
        (weights, "weight_sizes", "size of the weights"),
        (updates, "update_ratios", "size of an update / of the weights"),
        (outputs, "output_sizes", "size of the outputs before the ReLU"),
    ):
        _by_layer(axes, rows, key, depth)
        axes.set_yscale("log")
        plain(axes, words)
    _by_layer(dead, rows, "dead_units", depth)
    dead.set_ylim(-0.02, 1.02)
    plain(dead, "share of dead units")
    known = [(row["step"], row["signal"]) for row in rows if row.get("signal") is not None]
    signal.plot(*zip(*known, strict=True) if known else ([], []), color=INK, linewidth=1.3)
    signal.set_ylim(bottom=0.0)
    plain(signal, "spread of the answers over images")
    for axes in (weights, updates, outputs, dead, signal):
        axes.set_xlabel("step", fontsize=8, color=MUTED)
    legend.set_axis_off()
    legend.legend(
        *updates.get_legend_handles_labels(), loc="center left", fontsize=8.5, frameon=False,
        title="layer, from the image on", title_fontsize=8.5, alignment="left",
    )  # fmt: skip
    return figure


def _layers(rows: Sequence[Row], key: str) -> list[str]:
    """The layers of which the rows tell something, from the image on."""
    return list(dict.fromkeys(name for row in rows for name in row.get(key) or ()))


def _by_layer(axes: "Axes", rows: Sequence[Row], key: str, depth: int) -> None:
    """A line for each of so many layers, dark to bright with depth, and a mark now and then."""
    import matplotlib

    layers = _layers(rows, key)
    if not layers:
        axes.text(0.5, 0.5, "not in the run's log", ha="center", transform=axes.transAxes, size=8)
    colors = matplotlib.colormaps["cividis"](np.linspace(0.0, 0.92, max(depth, len(layers))))
    for number, layer in enumerate(layers):
        points = [(row["step"], row[key][layer]) for row in rows if layer in (row.get(key) or ())]
        every = max(1, len(points) // 6)
        axes.plot(
            *zip(*points, strict=True),
            color=colors[number],
            label=layer,
            linewidth=1.2,
            marker=_MARKS[number % len(_MARKS)],
            markersize=4,
            markevery=(number * every // 8, every),
        )
