"""`alexnet reproduce`: put a claim to the test and write what was found."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from alexnet.claims.catalog import CLAIMS, find_claim
from alexnet.claims.claim import Claim, Measured, Run, Setting
from alexnet.claims.execute import read_all, work
from alexnet.claims.results import write_result
from alexnet.claims.scales import find_scale
from alexnet.commands import quoted_command
from alexnet.data.fingerprint import fingerprint
from alexnet.data.sources import NAMES, open_source
from alexnet.errors import UserError
from alexnet.files import at_home, read_json, write_text
from alexnet.training.directory import check_apart


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
    size = size if seeds is None else replace(size, seeds=seeds, averaged=None)
    several = name == "all" and scale != "smoke"  # no data are right for all claims then
    settings = [
        Setting(
            size, _data(claim, scale, None if several and claim.data != "photographs" else data)
        )
        for claim in claims
    ]
    for images in dict.fromkeys(setting.data for setting in settings):
        check_apart(images, out)
        _check_same_images(out, images)
    return [
        _reproduce(claim, setting, out, jobs)
        for claim, setting in zip(claims, settings, strict=True)
    ]


def _reproduce(claim: Claim, setting: Setting, out: Path, jobs: int) -> dict[str, Any]:
    path = out / "results" / f"{claim.name}_{setting.scale.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {}

    def report(measured: Measured, done: Sequence[Run]) -> None:
        nonlocal document
        if not done:
            return
        document = write_result(
            path,
            claim,
            setting,
            measured,
            claim.find(setting, measured),
            _images(read_all(out / "runs", done, "data.json")),
            {
                **_common(read_all(out / "runs", done, "environment.json")),
                "command": _command(claim, setting),
            },
            complete=all(run.key in measured for run in claim.plan(setting, measured)),
        )

    work(claim, setting, out / "runs", jobs, report)
    return document


def _check_same_images(out: Path, data: str) -> None:
    """Hold the images of a name to those that runs in this folder were trained on.

    Raises:
        UserError: they are others, and results of both would be mixed.
    """
    if data in NAMES:
        return
    name, now = Path(data).name, fingerprint(open_source(data))
    note = out / "data.json"
    known = read_json(note) if note.exists() else {}
    if known.setdefault(name, now) != now:
        raise UserError(
            f"the images in {data} are not those of the same name that runs in {out} were trained "
            "on; restore them, or choose another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_text(note, json.dumps(known, indent=1) + "\n")


def _images(manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the data of the runs, which are the same."""
    first = manifests[0]
    return {
        **{key: first[key] for key in ("train_images", "validation_images", "fingerprint")},
        "classes": len(first["classes"]),
    }


def _common(environments: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One description of all runs; where they differ, every value that occurs."""

    def joined(key: str) -> Any:
        values = [environment[key] for environment in environments if key in environment]
        distinct = sorted({str(value) for value in values})
        return values[0] if len(distinct) == 1 else ", ".join(distinct)

    keys = dict.fromkeys(key for environment in environments for key in environment)
    return {key: joined(key) for key in keys}


def _data(claim: Claim, scale: str, given: str | None) -> str:
    """The images of a claim at a scale.

    Raises:
        UserError: photographs, which nobody can bring along, are not given.
    """
    if given is not None:
        return given if given in NAMES else str(at_home(given).resolve())
    if scale == "smoke":
        return "digits"
    if claim.data == "cifar10":
        return "cifar10"
    wanted = "ILSVRC" if scale == "full" else "photographs in class folders, such as Imagenette"
    raise UserError(f"{claim.name} at scale {scale} needs {wanted}: --data FOLDER")


def _command(claim: Claim, setting: Setting) -> str:
    """What to type for the same result, without this machine's paths."""
    scale = setting.scale
    usual = scale.name == "smoke" and setting.data == "digits"
    data = [] if usual else ["--data", Path(setting.data).name]
    seeds = [] if scale == find_scale(scale.name) else ["--seeds", str(scale.seeds)]
    return quoted_command("reproduce", claim.name, "--scale", scale.name, *data, *seeds)
