"""Where in an image the evidence for a class lies: by occlusion, and by gradient.

Occlusion (Zeiler and Fergus, 2014): a square of the mean pixel hides each place in turn, and the
map shows how far the probability of the class falls. Gradient times input (Shrikumar et al., 2016)
in the pixel's own units: the derivative of the class's logit, times the pixel's distance from the
mean, summed over the colours; blurred, because single pixels mean little.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.figures.style import INK, MUTED, SIGNED, Picture, new_figure, show
from alexnet.figures.style import shorten as short
from alexnet.model.build import Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Map = npt.NDArray[np.float64]

_COVER = 0.2  # of the image's side: the square that hides
_STEP = 0.05
_BLUR = 0.03
_BATCH = 64


@torch.inference_mode()
def occlusion_map(model: Network, patch: Tensor, label: int) -> Map:
    """How far the class's probability falls when each place is hidden, (S, S), in probability.

    Each pixel has the mean over all squares that cover it.

    Args:
        model: in evaluation mode.
        patch: (1, 3, S, S), 0..255.
        label: the class.
    """
    side = patch.shape[-1]
    cover, step = max(1, round(_COVER * side)), max(1, round(_STEP * side))
    starts = sorted({*range(0, side - cover, step), side - cover})
    places = [(top, left) for top in starts for left in starts]
    whole = float(model(patch).float().softmax(1)[0, label])
    falls, counts = np.zeros((side, side)), np.zeros((side, side))
    for first in range(0, len(places), _BATCH):
        block = places[first : first + _BATCH]
        hidden = patch.float().repeat(len(block), 1, 1, 1)
        for image, (top, left) in zip(hidden, block, strict=True):
            here = (slice(None), slice(top, top + cover), slice(left, left + cover))
            image[here] = model.mean[here]
        after = model(hidden).float().softmax(1)[:, label].cpu().numpy()
        for (top, left), probability in zip(block, after, strict=True):
            falls[top : top + cover, left : left + cover] += whole - probability
            counts[top : top + cover, left : left + cover] += 1
    return falls / counts


def gradient_map(model: Network, patch: Tensor, label: int) -> Map:
    """The logit's gradient times the pixel's distance from the mean, blurred, (S, S).

    Arguments as for `occlusion_map`.
    """
    image = patch.float().requires_grad_()
    logit = model(image)[0, label].float()
    (gradient,) = torch.autograd.grad(logit, image)
    evidence = (gradient * (image - model.mean)).sum(1, keepdim=True).detach()
    return _blurred(evidence, _BLUR * patch.shape[-1])[0, 0].double().cpu().numpy()


def _blurred(maps: Tensor, deviation: float) -> Tensor:
    """Gaussian, separable; (1, 1, S, S)."""
    reach = max(1, round(3 * deviation))
    places = torch.arange(-reach, reach + 1, dtype=maps.dtype, device=maps.device)
    weights = torch.exp(-0.5 * (places / max(deviation, 1e-6)) ** 2)
    weights = weights / weights.sum()
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        pad = (0, 0, reach, reach) if shape[2] == -1 else (reach, reach, 0, 0)
        maps = F.conv2d(F.pad(maps, pad), weights.view(shape))
    return maps


def evidence_figure(
    pictures: list[Picture],
    names: list[tuple[str, str, float]],
    occlusion: list[Map],
    gradient: list[Map],
) -> "Figure":
    """A column for each image: the image, what hiding does, what the gradient says.

    Args:
        pictures: what the network saw.
        names: (label, class that the maps are about, its probability).
        occlusion, gradient: the maps.
    """
    from matplotlib.ticker import PercentFormatter

    count = len(pictures)
    figure = new_figure(1.75 * count + 0.9, 5.9)
    rows = figure.subplots(3, count, squeeze=False)
    for place, (picture, (label, about, probability)) in enumerate(
        zip(pictures, names, strict=True)
    ):
        show(rows[0, place], picture)
        rows[0, place].set_title(
            f"{short(label, 18)}\nevidence for {short(about, 14)}\n{probability:.0%}",
            fontsize=7.5,
            color=INK,
        )
    for row, maps, title, scaled in (
        (1, occlusion, "hidden: fall of\nprobability", True),
        (2, gradient, "gradient x input\n(own scale)", False),
    ):
        shared = max((float(np.abs(m).max()) for m in maps), default=1.0) or 1.0
        for place, found in enumerate(maps):
            reach = shared if scaled else float(np.abs(found).max()) or 1.0
            grey = pictures[place].mean(axis=2)
            show(rows[row, place], grey, cmap="gray", vmin=0, vmax=255)
            drawn = show(
                rows[row, place],
                found,
                cmap=SIGNED,
                vmin=-reach,
                vmax=reach,
                alpha=np.clip(1.6 * np.abs(found) / reach, 0.0, 0.9),  # nothing hides nothing
                interpolation="bilinear",
            )
        if scaled:
            bar = figure.colorbar(drawn, ax=list(rows[row]), fraction=0.03, pad=0.01)
            if bar.solids is not None:
                bar.solids.set_alpha(1.0)
            bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
            bar.ax.tick_params(labelsize=7, colors=MUTED)
            bar.outline.set_visible(False)
        rows[row, 0].text(
            -0.06,
            0.5,
            title,
            transform=rows[row, 0].transAxes,
            rotation=90,
            fontsize=8,
            color=MUTED,
            va="center",
            ha="right",
        )
    return figure
