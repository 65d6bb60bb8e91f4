"""`alexnet reproduce`: put a claim to the test and write what was found."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from alexnet.claims.catalog import CLAIMS, find_claim
from alexnet.claims.claim import Claim, Measured, Setting
from alexnet.claims.execute import work
from alexnet.claims.results import write_result
from alexnet.claims.scales import find_scale
from alexnet.errors import UserError
from alexnet.parallel.environment import describe_environment
from alexnet.parallel.world import make_world


def reproduce(
    name: str,
    scale: str,
    out: Path,
    data: str | None = None,
    jobs: int | None = None,
    seeds: int | None = None,
) -> list[dict[str, Any]]:
    """Do all runs of a claim that are not done yet; the same call goes on after an interruption.

    Args:
        name: of the claim, or "all".
        scale: smoke, cpu, gpu or full.
        out: holds `runs/`, shared by all claims, and `results/CLAIM_SCALE.json`, which is written
            anew after every run.
        data: images instead of those that the claim takes by itself.
        jobs: runs at once; by default one for each device.
        seeds: of every arm, where it shall not be the scale's number; more can follow later.

    Returns:
        The documents of the result files.

    Raises:
        UserError: no such claim or scale, or data that must be given.
        InterruptedRunError: stopped; everything is saved.
    """
    claims = list(CLAIMS.values()) if name == "all" else [find_claim(name)]
    jobs = jobs or max(1, torch.cuda.device_count())
    size = find_scale(scale)
    size = size if seeds is None else replace(size, seeds=seeds)
    settings = [Setting(size, _data(claim, scale, data)) for claim in claims]
    return [
        _reproduce(claim, setting, out, jobs)
        for claim, setting in zip(claims, settings, strict=True)
    ]


def _reproduce(claim: Claim, setting: Setting, out: Path, jobs: int) -> dict[str, Any]:
    path = out / "results" / f"{claim.name}_{setting.scale.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    environment = _environment(claim, setting)
    document: dict[str, Any] = {}

    def report(measured: Measured) -> None:
        nonlocal document
        complete = all(run.key in measured for run in claim.plan(setting, measured))
        finding = claim.find(setting, measured)
        document = write_result(path, claim, setting, measured, finding, environment, complete)

    work(claim, setting, out / "runs", jobs, report)
    return document


def _data(claim: Claim, scale: str, given: str | None) -> str:
    """The images of a claim at a scale.

    Raises:
        UserError: photographs, which nobody can bring along, are not given.
    """
    if given is not None:
        return given if given in ("digits", "cifar10") else str(Path(given).resolve())
    if scale == "smoke":
        return "digits"
    if claim.data == "cifar10":
        return "cifar10"
    wanted = "ILSVRC" if scale == "full" else "photographs in class folders, such as Imagenette"
    raise UserError(f"{claim.name} at scale {scale} needs {wanted}: --data FOLDER")


def _environment(claim: Claim, setting: Setting) -> dict[str, Any]:
    """Versions and hardware, the commit, and the command without this machine's paths."""
    scale = setting.scale
    data = "" if setting.data == "digits" else f" --data {Path(setting.data).name}"
    seeds = "" if scale == find_scale(scale.name) else f" --seeds {scale.seeds}"
    return {
        **describe_environment(make_world()),
        "commit": _commit(),
        "command": f"alexnet reproduce {claim.name} --scale {scale.name}{data}{seeds}",
    }


def _commit() -> str | None:
    """The commit of this source, where it lies in a repository."""
    here = Path(__file__).parent
    git = ("git", "-C", str(here), "log", "-1", "--format=%h", "--", ".")
    try:
        found = subprocess.run(git, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip() or None
