"""The watch over a running training: the doctor's checks, spoken once, as soon as they are true.

It stops nothing; `alarm.py` stops what cannot learn.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.config import ModelConfig
from alexnet.data.batches import NO_IMAGE, Batch, TrainingFeed
from alexnet.errors import CannotLearnError
from alexnet.findings import Finding
from alexnet.model.build import Network
from alexnet.progress import Meter
from alexnet.rows import RowLog, read_rows
from alexnet.training.checks import Facts, check_run, shares
from alexnet.training.vitals import (
    LOOKED_AT,
    dead_channels,
    mixing,
    output_sizes,
    quiet_activations,
    signal,
    update_ratios,
    weight_sizes,
)

FILE = "findings.jsonl"
VERDICT = "cannot-learn"  # the finding of the alarm
_EARLY_ROWS = 30  # rows after each of which the run is judged; later, once an epoch


class Watch:
    """Watches one run.

    Args:
        run: the run directory; findings are kept in it, so that a resumed run does not repeat them.
        feed: its training images.
        num_classes: of the data.
        lr: the rate it begins with.
        warmup_epochs: of its schedule.
        validation_labels: (N,) of its validation images.
        model: which network it trains.
        sees_units: whether this process has the whole network; where it is divided among several,
            updates are watched and units are not.
    """

    def __init__(
        self,
        run: Path,
        feed: TrainingFeed,
        num_classes: int,
        lr: float,
        warmup_epochs: float,
        validation_labels: npt.NDArray[np.int64],
        model: ModelConfig,
        sees_units: bool = True,
    ) -> None:
        self._run = run
        self._sees_units = sees_units
        self._facts = Facts(
            lr,
            shares(feed.images.labels, num_classes),
            len(validation_labels),
            warmup_epochs,
            shares(validation_labels, num_classes),
            model,
        )
        self._spoken = {finding.name for finding in read_findings(run)}
        self.worst: Finding | None = None  # the last error that was found, for the alarm to name
        self._logged = len(read_rows(run / "metrics.jsonl"))

    def measure(
        self,
        optimizer: torch.optim.Optimizer,
        model: Network,
        batch: Batch,
        images: Tensor,
        whole: bool,
    ) -> dict[str, Any]:
        """The vitals of this moment, to be logged beside loss and error.

        Args:
            optimizer: after its step.
            model: after that step.
            batch: of the step's last pass.
            images: what the network saw of it.
            whole: with those that need a look at all weights and another forward pass; the first
                log always has them.
        """
        labels = batch.labels.cpu().numpy()
        vitals: dict[str, Any] = {
            "update_ratios": update_ratios(optimizer),
            "batch_mixing": mixing(labels[labels != NO_IMAGE], self._facts.shares),
        }
        if self._sees_units and (whole or not self._logged) and len(images) >= 8:
            # In float32 whatever the run's precision: bfloat16 is too coarse for a weak signal.
            stages = quiet_activations(model, images[:LOOKED_AT])
            vitals |= {
                "signal": signal(stages),
                "dead_units": dead_channels(stages),
                "weight_sizes": weight_sizes(model),
                "output_sizes": output_sizes(stages, model.variant.weight_layers),
            }
        self._logged += 1
        return vitals

    def look(self, meter: Meter, end_of_epoch: bool) -> None:
        """Judge the run so far and say what is new."""
        if self._logged > _EARLY_ROWS and not end_of_epoch:
            return
        for finding in check_run(read_rows(self._run / "metrics.jsonl"), self._facts):
            if finding.severity == "error":
                self.worst = finding
            if finding.name not in self._spoken:
                self._spoken.add(finding.name)
                meter.say(finding.line())
                _remember(self._run, finding)


def remember_verdict(run: Path, verdict: CannotLearnError) -> None:
    """Write down why the alarm has stopped a run, for the doctor."""
    _remember(run, Finding(VERDICT, "error", verdict.cause, verdict.mend))


def _remember(run: Path, finding: Finding) -> None:
    RowLog(run / FILE).append(finding.to_json())


def read_findings(run: Path) -> list[Finding]:
    """What the watch has said of a run."""
    return [Finding(**row) for row in read_rows(run / FILE)]
