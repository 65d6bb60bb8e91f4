"""Weights and activations in numbers: at the start, now, and how each layer uses its units."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.figures.style import BLUE, MUTED, ORANGE, RULE, new_figure, plain
from alexnet.model.build import Network
from alexnet.training.vitals import weight_sizes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class LayerStatistics:
    """One layer.

    Attributes:
        before, after: root mean square of the weights at the start (NaN: not known), and now.
        outputs: quantiles 5, 25, 50, 75, 95 % of the layer's outputs over images and units.
        active: share of images for which each unit answers, (units,).
    """

    name: str
    before: float
    after: float
    outputs: Floats
    active: Floats


@torch.inference_mode()
def layer_statistics(
    model: Network, first: Network | None, images: Tensor
) -> list[LayerStatistics]:
    """The statistics of every layer with weights.

    Args:
        model: trained, in evaluation mode.
        first: the same network as its training began, where that is known.
        images: (N, 3, S, S) to look at activations with.
    """
    stages = model.activations(images)
    before = {} if first is None else weight_sizes(first)
    after = weight_sizes(model)
    rows = []
    for name in model.variant.weight_layers:
        output = stages[name].float().cpu()
        answers = stages.get(f"relu{name[-1]}", output).float().cpu()
        seen = (answers.flatten(2).amax(2) if answers.ndim > 2 else answers) > 0  # (N, units)
        rows.append(
            LayerStatistics(
                name,
                before.get(name, math.nan),
                after[name],
                np.quantile(output.numpy(), _QUANTILES),
                seen.double().mean(0).numpy(),
            )
        )
    return rows


def statistics_figure(rows: list[LayerStatistics]) -> "Figure":
    """Size of the weights before and after, the outputs, and how often units answer."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = new_figure(9.0, 2.9)
    weights, outputs, units = figure.subplots(1, 3)
    places = np.arange(len(rows))
    names = [row.name for row in rows]
    for row, place in zip(rows, places, strict=True):
        weights.plot([row.before, row.after], [place, place], color=RULE, linewidth=3, zorder=1)
        low, quarter, middle, three, high = row.outputs
        outputs.plot([low, high], [place, place], color=RULE, linewidth=3, solid_capstyle="butt")
        outputs.plot(
            [quarter, three], [place, place], color=BLUE, linewidth=6, solid_capstyle="butt"
        )
        outputs.plot([middle], [place], "o", color="white", markersize=3.5)
    weights.plot([r.before for r in rows], places, "o", color=MUTED, label="at the start")
    weights.plot([r.after for r in rows], places, "s", color=BLUE, label="now")
    weights.set_xscale("log")
    weights.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    weights.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    weights.xaxis.set_minor_formatter(NullFormatter())
    weights.legend(fontsize=7, frameon=False)
    plain(weights, "root mean square of the weights")
    outputs.axvline(0, color=MUTED, linewidth=0.8)
    outputs.set_xscale("symlog", linthresh=1.0)
    plain(outputs, "outputs before the ReLU")
    hidden = rows[:-1]  # the last layer has no ReLU
    shares = [
        ("for no image", ORANGE, [float((r.active == 0).mean()) for r in hidden]),
        ("for some", RULE, [float(((r.active > 0) & (r.active < 1)).mean()) for r in hidden]),
        ("for every image", BLUE, [float((r.active == 1).mean()) for r in hidden]),
    ]
    left = np.zeros(len(hidden))
    for label, color, values in shares:
        units.barh(places[:-1], values, left=left, color=color, label=label, height=0.7)
        left += np.array(values)
    units.set_xlim(0, 1)
    units.legend(
        fontsize=7, frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, -0.32)
    )
    plain(units, "share of units that answer …")
    for axes in (weights, outputs, units):
        shown = len(rows) if axes is not units else len(hidden)
        axes.set_yticks(places[:shown], names[:shown])
        axes.invert_yaxis()
    return figure
