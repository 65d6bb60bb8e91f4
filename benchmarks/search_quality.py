"""How good are the defaults, the range test and the halving? One full search answers all three.

Every trial of the search is trained to the end, so that halving can be played on the recorded
curves: pausing does not change a run, so a trial that halving stops early would have had the same
errors until there.

    python benchmarks/search_quality.py run --name digits --data digits --epochs 6 --out FOLDER \
        -- --set model.width=0.125 …
    python benchmarks/search_quality.py repeat --name digits --data digits --epochs 6 --out FOLDER \
        -- --set model.width=0.125 …
    python benchmarks/search_quality.py judge --name digits --out FOLDER

With `--halve` the worse trials are stopped early, as `alexnet tune` does it: a quarter of the work,
but what halving missed is not known then. The best of 30 errors on the same images is also the
luckiest; `repeat` trains it and the defaults with other seeds, which tells luck from merit.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import geometric_mean, mean
from typing import Any

from scipy.stats import spearmanr

from alexnet.errors import UserError
from alexnet.evaluation.metrics import wilson_interval
from alexnet.rows import read_rows
from alexnet.tuning.halving import Plan, Score, Trial, best, next_job, rungs_of
from alexnet.tuning.range_test import judge as judge_sweep
from alexnet.tuning.space import assignments
from alexnet.tuning.study import Study, open_study
from alexnet.tuning.trial import evaluations, scores_so_far


def run(options: argparse.Namespace) -> None:
    """The range test and the search; interrupted work goes on with the same command."""
    folder = options.out / options.name
    swept(options, folder)
    depth = [] if options.halve else ["--full"]
    size = ["--trials", str(options.trials), "--workers", str(options.workers)]
    place = ["--storage", "folder", "--out", str(folder / "study"), "--json"]
    subprocess.run([*tune_line(options), *depth, *size, *place], check=True)


def tune_line(options: argparse.Namespace) -> list[str]:
    """The beginning of every `alexnet tune` of a data set."""
    alexnet = [sys.executable, "-m", "alexnet", "tune", options.data]
    return [*alexnet, "--epochs", str(options.epochs), *options.settings]


def swept(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What the range test says before any training; it is done once and kept in `range.json`."""
    path = folder / "range.json"
    if not path.exists():
        command = [*tune_line(options), "--range", "--out", str(folder / "range"), "--json"]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        path.write_text(said, encoding="utf-8")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def repeat(options: argparse.Namespace) -> None:
    """The winner and the defaults once more, with seeds that the search has not seen.

    Defaults that halving stopped early are trained to the end with the seed of the search as well.
    """
    folder = options.out / options.name
    ranked = ranking(open_study(folder / "study"))
    if all(trial.number != 0 for trial in ranked):
        trained_again(options, folder / "default", {}, 0)
    for seed in range(1, options.seeds + 1):
        for name, point in (("best", ranked[0].point), ("default", {})):
            trained_again(options, folder / "repeat" / f"{name}-{seed}", point, seed)


def trained_again(options: argparse.Namespace, out: Path, point: dict[str, Any], seed: int) -> None:
    """Train a point in a folder of its own, unless that has been done."""
    if (out / "result.json").exists():
        return
    shutil.rmtree(out, ignore_errors=True)
    changes = [word for change in assignments(point) for word in ("--set", change)]
    subprocess.run([*train_line(options, out, seed), *changes, "--json"], check=True)


def train_line(options: argparse.Namespace, out: Path, seed: int) -> list[str]:
    """The beginning of every `alexnet train` of a data set."""
    alexnet = [sys.executable, "-m", "alexnet", "train", options.data]
    rule = ["--epochs", str(options.epochs), "--seed", str(seed), "--out", str(out)]
    return [*alexnet, *rule, *options.settings]


def ranking(study: Study) -> list[Trial]:
    """The trials that are trained to the end, best first."""
    last = len(study.plan.rungs) - 1
    trials = [trial for trial in study.ledger().trials() if last in trial.scores]
    return sorted(trials, key=lambda trial: trial.rank(last))


def error_of(run: Path) -> float:
    """The error a finished run reports."""
    result: dict[str, float] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return result["top1_error"]


def repeated(folder: Path) -> dict[str, list[float]]:
    """The errors that `repeat` found, seed by seed."""
    return {
        name: [
            error_of(result.parent)
            for result in sorted((folder / "repeat").glob(f"{name}-*/result.json"))
        ]
        for name in ("default", "best")
    }


def play(runs: dict[int, Path], epochs: int, steps: int, count: int) -> tuple[int | None, Plan]:
    """The trial that halving picks from curves that are known, and its plan."""
    # Runs that were not paused are evaluated after whole epochs only.
    plan = Plan(count, tuple(rung for rung in rungs_of(epochs, steps) if rung >= 1))
    trials: list[Trial] = []
    while (job := next_job(trials, [], plan)).kind != "done":
        if job.kind == "new":
            trial = Trial(len(trials), {})
        else:
            assert job.trial is not None
            target = job.trial.target + (job.kind == "promote")
            trial = Trial(job.trial.number, {}, target, job.trial.scores)
        score, failure = score_by(runs[trial.number], plan.rungs[trial.target])
        scores = {**trial.scores, trial.target: score}
        trials = [t for t in trials if t.number != trial.number]
        trials.append(Trial(trial.number, {}, trial.target, scores, failure))
        trials.sort(key=lambda t: t.number)
    winner = best(trials)
    return (winner.number if winner else None), plan


def score_by(run: Path, epochs: float) -> tuple[Score, str | None]:
    """A trial's score after so many epochs; the last of all, and why, where it has none."""
    try:
        return scores_so_far(run, epochs), None
    except UserError as error:  # it was stopped before its first evaluation
        return Score(1.0, 1e9), str(error)


def played(runs: dict[int, Path], epochs: int, ranked: list[Trial]) -> dict[str, Any]:
    """What halving would have done where every trial was trained to the end."""
    rows = read_rows(runs[0] / "metrics.jsonl")
    steps = round(rows[-1]["step"] / rows[-1]["epoch"])  # of an epoch
    picked, plan = play(runs, epochs, steps, len(runs))
    final = {trial.number: trial.scores[0].error for trial in ranked}
    return {
        "halving_picks_error": None if picked is None else final[picked],
        "halving_picks_the_best": picked == ranked[0].number,
        "halving_share_of_full": plan.share(),
        "correlation_with_the_end": foretold(runs, steps, epochs, final),
    }


def foretold(
    runs: dict[int, Path], steps: int, epochs: int, final: dict[int, float]
) -> dict[str, float]:
    """Step → rank correlation of the trials' errors by then with those at the end."""
    found = {}
    for epoch in range(1, epochs):
        early = [score_by(runs[number], epoch)[0].error for number in final]
        found[str(steps * epoch)] = float(spearmanr(early, list(final.values())).statistic)
    return found


def judge(options: argparse.Namespace) -> dict[str, Any]:
    """What the search says, as far as it has come."""
    folder = options.out / options.name
    study = open_study(folder / "study")
    ranked = ranking(study)
    trials = [trial for trial in study.ledger().trials() if trial.scores]
    runs = {t.number: folder / "study" / "trials" / f"{t.number:04d}" / "run" for t in trials}
    last = len(study.plan.rungs) - 1
    final = {trial.number: trial.scores[last].error for trial in ranked}
    winner = ranked[0]
    default_error = final[0] if 0 in final else error_of(folder / "default")
    data = json.loads((runs[0] / "data.json").read_text())
    test = json.loads((folder / "range.json").read_text())
    # The sweep is judged anew, by the rule of now; what it said then stays beside.
    classes = len(data["classes"])
    now = judge_sweep(test["rates"], test["losses"], test["updates"], classes).suggested
    again = repeated(folder)
    best_lr = winner.point["optimizer.lr"]
    top = [trial.point["optimizer.lr"] for trial in ranked[:5]]
    default_lr = study.config.optimizer.lr
    return {
        "name": options.name,
        "data": Path(study.config.data.source).name,
        "trials": len(trials),
        "planned": study.plan.trials,
        "epochs": study.plan.rungs[-1],
        "compared_after_epochs": study.plan.rungs,
        "share_of_full": study.plan.share(),
        "model": {"width": study.config.model.width, "image_size": study.config.model.image_size},
        "validation_images": data["validation_images"],
        "best_error": final[winner.number],
        "best_error_interval": wilson_interval(final[winner.number], data["validation_images"]),
        "default_error": default_error,
        "default_over_best": default_error / max(final[winner.number], 1e-9),
        "repeated_with_other_seeds": again,
        "repeated_default_over_best": mean(again["default"]) / mean(again["best"])
        if all(again.values())
        else None,
        **(played(runs, study.plan.rungs[-1], ranked) if last == 0 else {}),
        "best_lr": best_lr,
        "lr_of_best_five": top,
        "default_lr": default_lr,
        "range_test_lr": test["suggested_lr"],
        "range_test_over_best": test["suggested_lr"] / best_lr,
        "range_test_steps": len(test["rates"]),
        "range_test_now": {
            "lr": now,
            "over_best": now / best_lr,
            "over_mean_of_best_five": now / geometric_mean(top),
        },
        "curves": {
            str(t.number): [
                row["top1_error"]
                for row in evaluations(read_rows(runs[t.number] / "metrics.jsonl"))
            ]
            for t in trials
        },
        "points": {str(trial.number): trial.point for trial in trials},
    }


def main() -> None:
    """Run or judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("run", "repeat", "judge"))
    parser.add_argument("--name", required=True)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1, help="processes that search")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--halve", action="store_true", help="stop the worse trials early")
    parser.add_argument("--out", type=Path, required=True)
    options, settings = parser.parse_known_args()
    options.settings = [word for word in settings if word != "--"]
    (options.out / options.name).mkdir(parents=True, exist_ok=True)
    if options.what != "judge":
        return {"run": run, "repeat": repeat}[options.what](options)
    return print(json.dumps(judge(options), indent=1))


if __name__ == "__main__":
    main()
