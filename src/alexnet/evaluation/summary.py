"""From a finished run to its report: gathers what `report.py` draws."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.config import Config
from alexnet.data.pixels import ImageSet
from alexnet.evaluation.evaluate import Evaluation
from alexnet.evaluation.metrics import wilson_interval
from alexnet.evaluation.report import Mistake, ReportInput, write_report
from alexnet.files import read_json
from alexnet.model.build import Network

_MISTAKES_SHOWN = 24


def write_run_report(
    run: Path,
    model: Network,
    config: Config,
    metrics: Sequence[dict[str, Any]],
    measured: Evaluation,
    images: ImageSet,
) -> None:
    """Write `report.html` into the run directory.

    Raises:
        CannotWriteError: the disk is full or the place not writable.
    """
    environment = read_json(run / "environment.json")
    report = ReportInput(
        title=run.name,
        config=json.loads(config.to_json()),
        environment=environment,
        metrics=list(metrics),
        classes=tuple(measured.classes),
        confusion=confusion(measured),
        images=measured.images,
        views=measured.views,
        top1_error=measured.top1_error,
        top5_error=measured.top5_error,
        top1_error_interval=wilson_interval(measured.top1_error, measured.images),
        top5_error_interval=wilson_interval(measured.top5_error, measured.images),
        loss=measured.loss,
        mistakes=worst_mistakes(measured, images),
        kernels=model.conv1.weight.detach().float().cpu().numpy(),
        columns=model.variant.columns,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        notes=[*_choice_of_weights(metrics), *_notes(run)],
    )
    write_report(run / "report.html", report)


def confusion(measured: Evaluation) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(C, C) counts, rows the true class, columns the most probable one."""
    count = len(measured.classes)
    table = np.zeros((count, count), dtype=np.int64)
    np.add.at(table, (measured.labels, measured.probabilities.argmax(1)), 1)
    return table


def worst_mistakes(measured: Evaluation, images: ImageSet) -> list[Mistake]:
    """The images on which the network was most sure of a wrong class, surest first."""
    predicted = measured.probabilities.argmax(1)
    sureness = measured.probabilities.max(1)
    wrong = np.flatnonzero(predicted != measured.labels)
    worst = wrong[np.argsort(-sureness[wrong], kind="stable")][:_MISTAKES_SHOWN]
    return [
        Mistake(
            key=measured.keys[i],
            label=measured.classes[measured.labels[i]],
            predicted=measured.classes[predicted[i]],
            probability=float(sureness[i]),
            pixels=images.store.picture(int(i)),
        )
        for i in worst
    ]


def _choice_of_weights(metrics: Sequence[dict[str, Any]]) -> list[str]:
    """Say that the best epoch was chosen on the images that the error is measured on."""
    errors = [row["top1_error"] for row in metrics if row["split"] == "val"]
    if len(errors) < 2:
        return []
    return [
        f"The weights are the best of {len(errors)} evaluations on these same images, which "
        f"flatters the error a little; after the last epoch it was {errors[-1]:.2%}."
    ]


def _notes(run: Path) -> list[str]:
    data = read_json(run / "data.json")
    return [*data["notes"], *(f"skipped {key}: {reason}" for key, reason in data["skipped"])]
