"""Does the range test find the best rate? The rate alone is searched, all else as the defaults say.

A search over everything (`search_quality.py`) finds the best point, whose rate is one part in nine
and pays for what the others do. Here a grid of rates is trained to the end, some seeds each, and
the rate with the smallest mean error is set against the one that the range test suggests.

    python benchmarks/rate_sweep.py --name digits --data digits --epochs 6 --out FOLDER \
        -- --set model.width=0.125 …

Interrupted work goes on with the same command. The last thing printed is the judgement, in JSON.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from search_quality import error_of, swept, train_line

RATES = [0.00125 * 2**power for power in range(7)]  # 0.00125 to 0.08


def error(options: argparse.Namespace, folder: Path, rate: float, seed: int) -> float:
    """The validation error of a whole training; 1 where it ended early, out of hand."""
    out, done = folder / f"{rate:g}-{seed}", folder / f"{rate:g}-{seed}.done"
    if not done.exists():
        shutil.rmtree(out, ignore_errors=True)
        command = [*train_line(options, out, seed), "--set", f"optimizer.lr={rate}"]
        ended = subprocess.run(command, check=False)
        done.write_text(str(ended.returncode), encoding="utf-8")
    return error_of(out) if (out / "result.json").exists() else 1.0


def judged(name: str, epochs: int, errors: dict[float, list[float]], lr: float) -> dict[str, Any]:
    """The best rate, those that no one could tell from it, and how far the suggestion is off."""
    means = {rate: mean(values) for rate, values in errors.items()}
    best = min(means, key=lambda rate: means[rate])
    noise = max(
        stdev(values) for rate, values in errors.items() if means[rate] <= 1.2 * means[best]
    )
    as_good = [rate for rate in means if means[rate] <= means[best] + noise]
    return {
        "name": name,
        "epochs": epochs,
        "errors": {f"{rate:g}": values for rate, values in errors.items()},
        "best_lr": best,
        "best_error": means[best],
        "as_good_within_a_deviation": as_good,
        "range_test_lr": lr,
        "range_test_over_best": lr / best,
        "is_within_a_factor_of_3": best / 3 <= lr <= best * 3,
    }


def main() -> None:
    """Sweep and judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    options, settings = parser.parse_known_args()
    options.settings = [word for word in settings if word != "--"]
    folder = options.out / options.name
    folder.mkdir(parents=True, exist_ok=True)
    lr = float(swept(options, folder)["suggested_lr"])
    errors = {
        rate: [error(options, folder, rate, seed) for seed in range(options.seeds)]
        for rate in RATES
    }
    print(json.dumps(judged(options.name, options.epochs, errors, lr), indent=1))


if __name__ == "__main__":
    main()
