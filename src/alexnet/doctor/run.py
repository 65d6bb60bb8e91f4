"""A run: what its metrics, its network and its data say together."""

from pathlib import Path
from typing import Any

import torch

from alexnet.config import Config, read_config
from alexnet.doctor.dataset import (
    TRAIN_LIMIT,
    VALIDATION_LIMIT,
    data_facts,
    examine_data,
    judge_data,
)
from alexnet.doctor.installation import examine_installation
from alexnet.doctor.network import (
    initial_signal,
    judge_network,
    judge_suspects,
    label_suspects,
    newest_network,
)
from alexnet.doctor.report import Diagnosis
from alexnet.doctor.sample import take_sample
from alexnet.doctor.saved import judge_saved
from alexnet.errors import UserError
from alexnet.files import at_home
from alexnet.findings import Finding
from alexnet.model.catalog import resolve
from alexnet.parallel.world import World
from alexnet.rows import read_rows
from alexnet.training.checks import (
    Facts,
    bottleneck,
    check_run,
    dead_units,
    drowned,
    is_drowned,
    largest_update,
    learns,
    shares,
)
from alexnet.training.data import Data, load_data, refuse_other_data
from alexnet.training.watch import VERDICT, read_findings

# What the data or the first weights explain, the training need not be blamed for.
_ROOTS = ("unreadable-images", "corrupted-images", "low-contrast", "drowned-signal", "wrong-mean")
_SYMPTOMS = ("labels-do-not-fit", "labels-say-nothing", "dead-relus", "rate-too-low")


def examine_run(run: Path) -> Diagnosis:
    """Look at a run directory, finished or not, and at the images it was made from.

    Raises:
        UserError: it is no run, or its images cannot be opened or are others now.
    """
    if not (run / "config.json").exists():
        raise UserError(f"{run} is not a run: it holds no config.json")
    config = read_config(run / "config.json")
    rows = read_rows(run / "metrics.jsonl")
    data = load_data(config, World(0, 1, torch.device("cpu"), "fp32"))
    refuse_other_data(run, data)
    facts = Facts(
        config.optimizer.lr,
        shares(data.train.labels, len(data.source.classes)),
        len(data.validation),
        config.schedule.warmup_epochs,
        shares(data.validation.labels, len(data.source.classes)),
        config.model,
    )
    train = take_sample(data.source.train, TRAIN_LIMIT, "looking at training images")
    validation = take_sample(data.source.validation, VALIDATION_LIMIT, "looking at validation")
    of_network, seen = _network(run, config, data, learned=learns(rows, facts))
    findings = [
        *judge_saved(run, rows),
        *judge_data(data.source, train, validation),
        *of_network,
        *check_run(rows, facts, ended=True),
        *_remembered(run, rows),
    ]
    side = resolve(config.model).image_size
    everything = {**data_facts(data.source, train, validation, side), **_course(rows), **seen}
    return Diagnosis(f"run {run}", everything, explained(findings, learns(rows, facts)))


def _network(
    run: Path, config: Config, data: Data, learned: bool
) -> tuple[list[Finding], dict[str, Any]]:
    """Findings in the network, and what was measured."""
    findings: list[Finding] = []
    seen: dict[str, Any] = {}
    if config.train.init is None:
        mean = data.mean(config.data.mean, resolve(config.model).image_size)
        seen["initial_signal"] = initial_signal(config, len(data.source.classes), data.train, mean)
        if is_drowned(seen["initial_signal"]) and not learned:
            findings.append(drowned(seen["initial_signal"], config.model))
    model = newest_network(run, config, data.source.classes)
    if model is None:
        return findings, seen
    findings += judge_network(model, data.train, config.train.init is None, learned)
    if learned:
        suspects, share = label_suspects(model, data.train)
        seen["label_suspects"] = suspects
        findings += judge_suspects(suspects, share)
    return findings, seen


def _remembered(run: Path, rows: list[dict[str, Any]]) -> list[Finding]:
    """What the watch said if the run was stopped before its first epoch, and the alarm ever."""
    ended_early = not any(row["split"] == "val" for row in rows)
    return [finding for finding in read_findings(run) if ended_early or finding.name == VERDICT]


def explained(findings: list[Finding], learned: bool) -> list[Finding]:
    """The findings without those that others explain.

    A low agreement of look-alike images counts against the labels only where the network learned
    nothing either: there are pictures whose classes do not show at a glance.
    """
    names = {finding.name for finding in findings}
    errors = {finding.name for finding in findings if finding.severity == "error"}
    dropped = set(_SYMPTOMS) if errors & set(_ROOTS) else set()
    if "one-class-dominates" in names:
        dropped |= {"labels-say-nothing"}
    if "rate-too-high" in names:
        dropped |= {"dead-relus", "labels-do-not-fit"}
    if "dead-relus" in errors:
        dropped.add("labels-do-not-fit")
    if errors - {VERDICT}:
        dropped.add(VERDICT)
    if learned or "labels-do-not-fit" in names:
        dropped.add("labels-say-nothing")
    return [finding for finding in findings if finding.name not in dropped]


def _course(rows: list[dict[str, Any]]) -> dict[str, Any]:
    train = [row for row in rows if row["split"] == "train"]
    validation = [row for row in rows if row["split"] == "val"]
    if not train:
        return {"steps": 0}
    return {
        "steps": train[-1]["step"],
        "training_loss": [train[0]["loss"], train[-1]["loss"]],
        "validation_error": validation[-1]["top1_error"] if validation else None,
        "largest_update_ratio": largest_update(train),
        "images_per_second": train[-1].get("images_per_second"),
        "data_wait_fraction": train[-1].get("data_wait_fraction"),
        "bottleneck": bottleneck(train),
        "dead_units": dead_units(train),
    }


def examine(what: str | None) -> Diagnosis:
    """The installation, a run directory, or a data set; what `alexnet doctor` does."""
    if what is None:
        return examine_installation()
    place = at_home(what)
    if (place / "config.json").exists():
        return examine_run(place)
    if (place / "study.json").exists():
        raise UserError(f"{what} is a study; give one of its runs: {what}/trials/0000/run")
    return examine_data(what)
