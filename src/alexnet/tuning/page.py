"""The page of a study: what won, how all trials went, and what decided."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from alexnet.commands import quoted_command
from alexnet.evaluation.plots import svg
from alexnet.files import write_text
from alexnet.progress import shown_epochs
from alexnet.rows import read_rows
from alexnet.tuning.halving import Trial, best
from alexnet.tuning.ledger import trial_folder
from alexnet.tuning.space import Space, configured
from alexnet.tuning.study import Study, epochs_trained, has_optuna
from alexnet.tuning.trial import evaluations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ENOUGH = 6  # trials for saying what decides
_PARTS = 3  # of a dimension, in the built-in measure of importance


def command_line(study: Study, trial: Trial) -> str:
    """The command that trains as a trial did, to the end: with everything that decided it."""
    config = trial_folder(study.folder.resolve(), trial.number) / "run" / "config.json"
    if not config.exists():  # somebody made room
        config = study.folder.resolve() / "best.json"
        write_text(config, configured(study.config, trial.point).to_json())
    return quoted_command("train", "--config", config)


def importance(trials: Sequence[Trial], space: Space) -> tuple[dict[str, float], str]:
    """How much each dimension decides at the first rung, and how that was measured.

    All trials have been at the first rung, so that they can be compared there and nowhere else.
    """
    seen = [trial for trial in trials if 0 in trial.scores]
    if len(seen) < _ENOUGH:
        return {}, "too few trials to say"
    points = [trial.point for trial in seen]
    errors = [trial.scores[0].error for trial in seen]
    if len(set(errors)) == 1:
        return {}, "nothing tells the trials apart"
    if has_optuna():
        from alexnet.tuning.optuna_ledger import importances

        shares = importances(points, errors, space)
        how = "PED-ANOVA (Optuna) over all trials at the first rung."
    else:
        shares = explained(points, errors, space)
        how = (
            "Share of the variance of the errors' ranks between thirds of each range, at the first "
            "rung; chance alone gives a few per cent."
        )
    return dict(sorted(shares.items(), key=lambda entry: -entry[1])), how


def explained(points: list[dict[str, Any]], errors: list[float], space: Space) -> dict[str, float]:
    """For each dimension, the variance of ranks between its thirds over all of it (eta squared)."""
    ranks = np.argsort(np.argsort(errors, kind="stable"), kind="stable").astype(np.float64)
    total = float(ranks.var()) or 1.0
    shares = {}
    for dimension in space:
        positions = [dimension.position(point[dimension.key]) for point in points]
        part = np.minimum(_PARTS - 1, (np.array(positions) * _PARTS).astype(int))
        between = sum(
            (part == p).mean() * (ranks[part == p].mean() - ranks.mean()) ** 2
            for p in range(_PARTS)
            if (part == p).any()
        )
        shares[dimension.key] = float(between / total)
    return shares


def write_page(study: Study, trials: Sequence[Trial]) -> Path:
    """Write study.html into the study's folder.

    Raises:
        CannotWriteError: the disk is full or the place not writable.
    """
    winner = best(trials)
    shares, how = importance(trials, study.space)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("alexnet.tuning"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    rungs = range(len(study.plan.rungs))
    page = environment.get_template("study.html").render(
        title=f"Study {study.folder.name}",
        verdict=verdict(study, trials),
        command=command_line(study, winner) if winner else "no trial has been evaluated",
        keep=study.plan.keep,
        curves=svg(_curves(study, trials, winner), "curves", "Validation error over the epochs"),
        importance=list(shares.items()),
        how=how,
        rungs=[shown_epochs(epochs) for epochs in study.plan.rungs],
        keys=[dimension.key for dimension in study.space],
        rows=[
            {
                "number": trial.number,
                "errors": [score and score.error for score in map(trial.measured, rungs)],
                "settings": [trial.point[dimension.key] for dimension in study.space],
                "failure": trial.failure,
                "best": trial is winner,
            }
            for trial in sorted(trials, key=_place)
        ],
    )
    path = study.folder / "study.html"
    write_text(path, page)
    return path


def verdict(study: Study, trials: Sequence[Trial]) -> str:
    """The result in a sentence or two."""
    winner = best(trials)
    failures = [trial.failure for trial in trials if trial.failure]
    failed = f" ({len(failures)} failed)" if failures else ""
    if winner is None:
        if failures and len(failures) == len(trials):
            return f"All {len(trials)} trials failed, the first because {failures[0]}"
        return f"No trial has been evaluated yet{failed}."
    rung = max(winner.scores)
    words = (
        f"Trial {winner.number} is the best of {len(trials)}{failed}: its lowest top-1 error is "
        f"{winner.scores[rung].error:.2%} by epoch {shown_epochs(study.plan.rungs[rung])}"
    )
    first = next((t for t in trials if t.number == 0 and 0 in t.scores), None)
    if first is not None and first.failure:
        words += "; the defaults (trial 0) failed"
    elif first is not None:
        reached = max(first.scores)
        words += (
            f"; that of the defaults (trial 0) is {first.scores[reached].error:.2%} by epoch "
            f"{shown_epochs(study.plan.rungs[reached])}"
        )
    share = share_of_full(study, trials)
    return f"{words}. The search took {share:.0%} of training every trial to the end."


def share_of_full(study: Study, trials: Sequence[Trial]) -> float:
    """Epochs that the search has taken, relative to training every planned trial to the end."""
    return epochs_trained(study, trials) / (study.plan.trials * study.plan.rungs[-1])


def _place(trial: Trial) -> tuple[int, float, int]:
    rung = max(trial.scores, default=-1)
    return -rung, trial.scores[rung].error if trial.scores else 1.0, trial.number


def _curves(study: Study, trials: Sequence[Trial], winner: Trial | None) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_ylabel("top-1 error (%)", fontsize=8)
    for trial in trials:
        log = trial_folder(study.folder, trial.number) / "run" / "metrics.jsonl"
        rows = evaluations(read_rows(log))
        is_best = winner is not None and trial.number == winner.number
        axes.plot(
            [row["epoch"] for row in rows],
            [100 * row["top1_error"] for row in rows],
            color="#d55e00" if is_best else "#0072b2",
            alpha=1.0 if is_best else 0.35,
            linewidth=1.8 if is_best else 1.0,
            marker="." if len(rows) < 30 else "",
            zorder=3 if is_best else 2,
        )
    for epochs in study.plan.rungs:
        axes.axvline(epochs, color="#d5dae0", linewidth=0.8)
    axes.set_ylim(0, None)
    return figure
