"""`alexnet figures`: everything the paper shows of a network, for a run and its data."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from alexnet.config import read_config
from alexnet.errors import UserError
from alexnet.evaluation.neighbors import Vectors, features, nearest
from alexnet.evaluation.neighbors import pixels as raw_pixels
from alexnet.figures.activations import maps_figure
from alexnet.figures.evidence import evidence_figure, gradient_map, occlusion_map
from alexnet.figures.kernels import columns_in_words, kernels_figure, selectivity_figure
from alexnet.figures.neighbors import neighbors_figure
from alexnet.figures.page import Shown, write_page
from alexnet.figures.panels import panels_figure
from alexnet.figures.statistics import layer_statistics, statistics_figure
from alexnet.figures.subject import Subject, activations, open_subject
from alexnet.figures.training import has_vitals, training_figure
from alexnet.files import write_atomically
from alexnet.model.build import Network, build_network
from alexnet.progress import stage
from alexnet.rows import read_rows
from alexnet.training.directory import check_apart
from alexnet.training.finetune import start_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Sheet = tuple[str, str, str, "Figure"]
"""Name of the files, title, caption, figure."""

_NEIGHBORS = 6  # as in Figure 4
_QUERIES = 5
_EVIDENCE = 5
_IMAGES_FOR_STATISTICS = 128
_RESOLUTION = 160  # dots an inch


def draw(
    run: Path,
    out: Path,
    data: str | None = None,
    images: int = 8,
    device: str = "auto",
    picture: Path | None = None,
    stages: Sequence[str] = (),
) -> dict[str, Any]:
    """Draw every figure of a run as PNG and SVG, and a page `index.html` with all of them.

    Args:
        run: a run directory or a weights file.
        out: the folder to write into.
        data: images to show; by default those the run was trained on.
        images: how many validation images to show predictions of.
        device: auto, cpu or cuda.
        picture: a file whose activations to show in place of a validation image.
        stages: whose activations, conv1 to pool5; by default the ReLUs'.

    Returns:
        {"out", "page", "figures": [names]}.

    Raises:
        UserError: no such run or data, `data` needed and not given, or `out` lies among the images.
        CannotWriteError: the folder cannot be written.
    """
    data = _own_data(run) if data is None else data
    check_apart(data, out)
    subject = open_subject(run, data, images, device, picture, stages)
    out.mkdir(parents=True, exist_ok=True)
    shown = []
    for draw_sheet in _SHEETS:
        with stage(draw_sheet.__name__.strip("_").replace("_", " ")):
            shown += [_save(out, sheet) for sheet in draw_sheet(subject)]
    error = subject.measured.top1_error
    write_page(
        out / "index.html",
        f"{run.name}: what the network has learned",
        f"{subject.model.variant.name}, {subject.measured.images} validation images, top-1 error "
        f"{error:.1%} (centre patch). Images are chosen by a rule, not by hand: class after class, "
        "in turn one that the network gets right and one that it does not, as long as there are "
        "any, the middle one each.",
        shown,
    )
    return {
        "out": str(out),
        "page": str(out / "index.html"),
        "figures": [figure.name for figure in shown],
    }


def _own_data(run: Path) -> str:
    config = run / "config.json"
    if not config.exists():
        raise UserError(f"{run} does not say which images to show; add --data DATA")
    return read_config(config).data.source


def _save(out: Path, sheet: Sheet) -> Shown:
    import matplotlib

    name, title, caption, figure = sheet
    nothing = {"Date": None, "Creator": None}
    svg, png = out / f"{name}.svg", out / f"{name}.png"
    with warnings.catch_warnings():
        # Letters that matplotlib's font lacks are boxes in the PNG, but text in the SVG.
        warnings.filterwarnings("ignore", "Glyph")
        with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
            write_atomically(svg, lambda p: figure.savefig(p, format="svg", metadata=nothing))
        write_atomically(png, lambda p: figure.savefig(p, format="png", dpi=_RESOLUTION))
    return Shown(name, title, caption, png, round(figure.get_size_inches()[0] * 96))


def _kernels(subject: Subject) -> list[Sheet]:
    kernels = subject.model.conv1.weight.detach().float().cpu().numpy()
    columns = subject.model.variant.columns
    sheets: list[Sheet] = [
        (
            "kernels",
            "Kernels of the first layer (Figure 3)",
            "Mid-grey is zero; each kernel is scaled by its largest weight. The bar below a kernel "
            "is its colour selectivity: full width sees nothing but colour, none ignores it.",
            kernels_figure(kernels, columns),
        )
    ]
    if columns == 2:
        sheets.append(
            (
                "kernel-colors",
                "Do the columns divide colour between them?",
                columns_in_words(kernels),
                selectivity_figure(kernels),
            )
        )
    return sheets


def _predictions(subject: Subject) -> list[Sheet]:
    validation, measured = subject.validation, subject.measured
    pictures = [subject.picture(validation, int(i)) for i in subject.chosen]
    labels = [int(measured.labels[i]) for i in subject.chosen]
    figure = panels_figure(
        pictures, labels, measured.probabilities[subject.chosen], subject.model.classes
    )
    return [
        (
            "predictions",
            "Most probable classes (Figure 4, left)",
            "Under each image, named by its label, the classes the network considers most "
            "probable. The correct one is blue, hatched and ticked.",
            figure,
        )
    ]


def _neighbors(subject: Subject) -> list[Sheet]:
    model, world = subject.model, subject.world
    queries = subject.chosen[:_QUERIES]
    side = model.variant.image_size
    sheets: list[Sheet] = []
    hidden = "relu7" if "relu7" in model.variant.order else model.variant.order[-2]
    spaces: list[tuple[str, str, str, Vectors]] = [
        (
            "neighbors",
            "Nearest training images in the last hidden layer (Figure 4, right)",
            f"activations of {hidden}",
            lambda images, chosen: features(model, images, hidden, world, chosen),
        ),
        (
            "neighbors-pixels",
            "The same by raw pixels, for comparison",
            "grey levels",
            lambda images, chosen: raw_pixels(images, side, chosen),
        ),
    ]
    for name, title, space, vectors in spaces:
        wanted = np.concatenate(list(vectors(subject.validation, queries)))
        count = min(_NEIGHBORS, len(subject.training))
        places, distances = nearest(wanted, vectors(subject.training, None), count)
        figure = neighbors_figure(
            [(subject.picture(subject.validation, int(q)), _class(subject, q)) for q in queries],
            [
                [
                    (
                        subject.picture(subject.training, int(place)),
                        model.classes[int(subject.training.labels[place])],
                        float(distance),
                    )
                    for place, distance in zip(row, row_distances, strict=True)
                ]
                for row, row_distances in zip(places, distances, strict=True)
            ],
        )
        caption = (
            "The first picture of a row is a validation image, the others its nearest training "
            f"images by Euclidean distance in {space}, which stands above each. A solid blue frame "
            "is of the same class, a dashed orange one of another."
        )
        sheets.append((name, title, caption, figure))
    return sheets


def _evidence(subject: Subject) -> list[Sheet]:
    model = subject.model
    pictures, names, occlusion, gradient = [], [], [], []
    for index in subject.chosen[:_EVIDENCE]:
        patch = subject.patch(subject.validation, int(index))
        about = int(subject.measured.probabilities[index].argmax())
        probability = float(subject.measured.probabilities[index, about])
        pictures.append(subject.picture(subject.validation, int(index)))
        names.append((_class(subject, index), model.classes[about], probability))
        occlusion.append(occlusion_map(model, patch, about))
        gradient.append(gradient_map(model, patch, about))
    return [
        (
            "evidence",
            "Where the evidence for the most probable class lies",
            "Orange speaks against the class, purple for it. Middle row: a grey square a fifth of "
            "the image wide hides each place; the colour is how far the class's probability falls. "
            "Bottom row: the gradient of the class's output times the pixels, each on its scale.",
            evidence_figure(pictures, names, occlusion, gradient),
        )
    ]


def _activations(subject: Subject) -> list[Sheet]:
    picture = subject.picture(*subject.looked_at)
    return [
        (
            "activations",
            "What layers answer to one image",
            "The sixteen maps of each layer and column with the highest activation: dark is zero "
            "or below, the brightest the layer's highest.",
            maps_figure(picture, activations(subject), subject.model.variant.columns),
        )
    ]


def _statistics(subject: Subject) -> list[Sheet]:
    count = min(_IMAGES_FOR_STATISTICS, len(subject.validation))
    spread = np.linspace(0, len(subject.validation) - 1, count).astype(np.int64)
    images = torch.cat([subject.patch(subject.validation, int(i)) for i in spread])
    first = _first(subject)
    weights = "weights now" if first is None else "weights at the start and now"
    figure = statistics_figure(layer_statistics(subject.model, first, images))
    return [
        (
            "statistics",
            "Weights and activations in numbers",
            f"Left: the size of each layer's {weights}. Middle: its "
            f"outputs before the ReLU over {count} validation images (5, 25, 50, 75 and 95 %). "
            "Right: units that never answer are dead.",
            figure,
        )
    ]


def _first(subject: Subject) -> Network | None:
    """The network as its training began; None where that cannot be known any more."""
    model, path = subject.model, subject.run / "config.json"
    if not path.exists():
        return None
    config = read_config(path)
    first = build_network(model.variant, model.num_classes, config.train.seed)
    first.classes = model.classes
    try:
        start_weights(first, config)
    except UserError:  # the run that it began with is gone
        return None
    return first


def _training(subject: Subject) -> list[Sheet]:
    rows = read_rows(subject.run / "metrics.jsonl") if subject.run.is_dir() else []
    if not has_vitals(rows):
        return []
    return [
        (
            "training",
            "Weights and activations over the training",
            "Sizes are root mean squares. Above: the weights of each layer, their last update "
            "relative to them (around a thousandth is healthy), and what the layer puts out "
            "before its ReLU. Below: the share of kernels or neurons of each ReLU layer that "
            "answer zero to every image of a batch; the spread of the logits over images relative "
            "to their size, where near zero means that every image gets the same answer.",
            training_figure(rows),
        )
    ]


def _class(subject: Subject, index: Any) -> str:
    return subject.model.classes[int(subject.measured.labels[index])]


_SHEETS = (_kernels, _predictions, _neighbors, _evidence, _activations, _statistics, _training)
