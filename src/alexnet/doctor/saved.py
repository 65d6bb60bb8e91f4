"""What a run has saved: whether it has begun, and whether what it wrote can be read again."""

from pathlib import Path
from typing import Any

from alexnet.commands import quoted_command
from alexnet.findings import Finding
from alexnet.model.header import are_whole
from alexnet.training.checkpoint import checkpoints, is_whole


def judge_saved(run: Path, rows: list[dict[str, Any]]) -> list[Finding]:
    """Whether a run has begun, with metrics or checkpoints, and its files are whole.

    Args:
        run: its directory; of the files headers and sizes are looked at.
        rows: its metrics.
    """
    saved = checkpoints(run / "checkpoints")
    if not saved and not rows:
        return [_not_begun(run)]
    return [*_checkpoints(run, saved), *_weights(run)]


def _not_begun(run: Path) -> Finding:
    return Finding(
        "not-begun",
        "note",
        "nothing has been trained or measured yet",
        quoted_command("train", "--resume", run),
    )


def _checkpoints(run: Path, saved: list[Path]) -> list[Finding]:
    damaged = [path for path in saved if not is_whole(path)]
    if not damaged:
        return []
    cause = f"{len(damaged)} of {len(saved)} checkpoints cannot be read, the first {damaged[0]}"
    if len(damaged) < len(saved):
        mend = "look after the disk; the run goes on from the one that can"
        return [Finding("damaged-checkpoints", "warning", cause, mend)]
    copied = "restore one from a copy, or begin a new run"
    with_weights = f" with these weights: {quoted_command('train', 'DATA', '--init', run)}"
    mend = copied + (with_weights if are_whole(run / "weights.safetensors") else "")
    return [Finding("damaged-checkpoints", "error", cause, mend)]


def _weights(run: Path) -> list[Finding]:
    path = run / "weights.safetensors"
    if not path.exists() or are_whole(path):
        return []
    deleting = "delete its result.json, then: " if (run / "result.json").exists() else ""
    return [
        Finding(
            "damaged-weights",
            "error",
            f"{path} cannot be read, so that the run answers nothing",
            f"restore it from a copy, or make it anew: {deleting}"
            f"{quoted_command('train', '--resume', run)}",
        )
    ]
