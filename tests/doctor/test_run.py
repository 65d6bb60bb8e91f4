"""Runs broken on purpose are named, healthy ones are not; `broken_runs.py` has them all."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from click.testing import CliRunner

from alexnet.doctor import network
from alexnet.doctor.run import examine, examine_run, explained
from alexnet.doctor.saved import judge_saved
from alexnet.errors import CannotLearnError, UserError
from alexnet.findings import Finding
from alexnet.rows import read_rows
from alexnet.training.checkpoint import checkpoints
from alexnet.training.run import resume, train
from alexnet.training.watch import read_findings, remember_verdict
from alexnet.verbs import verbs
from broken_runs import BREAKS, HEALTHY, make_run

# Those whose cause shows within a few steps; the others take whole trainings and are measured by
# `python tests/broken_runs.py`, with the result in benchmarks/.
_QUICK = {
    "rate-too-high": True,
    "wrong-mean": False,
    "not-shuffled": True,
}
_SEVERITIES: tuple[Literal["warning", "error"], ...] = ("warning", "error")
_SMALLER = ("model.image_size=48", "data.size=54", "train.log_every_steps=5")


@pytest.mark.parametrize("name", list(_QUICK))
def test_a_broken_run_is_named_and_the_watch_says_so(name: str, tmp_path: Path) -> None:
    broken = next(b for b in BREAKS if b.expected == name)
    changes = (*_SMALLER, "train.alarm=false", "train.steps=25")
    run, _ = make_run(broken, tmp_path, train=320, validation=60, epochs=3, changes=changes)
    found = examine_run(run).findings
    assert found[0].severity == "error"
    assert name in [finding.name for finding in found]
    assert {finding.name for finding in found} == {name}
    assert (name in [finding.name for finding in read_findings(run)]) == _QUICK[name]


def test_the_alarm_names_the_cause_that_the_watch_found(tmp_path: Path) -> None:
    broken = next(b for b in BREAKS if b.expected == "dead-relus")
    run, said = make_run(
        broken, tmp_path, train=320, validation=60, epochs=3, changes=(*_SMALLER, "train.steps=40")
    )
    assert said is not None
    assert said.startswith("training stopped at step 20")
    assert "relu3 answer zero to every image" in said
    assert [finding.name for finding in examine_run(run).findings] == ["dead-relus"]


def test_what_the_alarm_alone_has_seen_is_not_healthy(tmp_path: Path) -> None:
    run, _ = make_run(
        HEALTHY, tmp_path, train=120, validation=30, epochs=1, changes=(*_SMALLER, "train.steps=1")
    )
    assert examine_run(run).findings == []
    verdict = CannotLearnError("training stopped at step 9: no; it cannot learn", "try another")
    assert str(verdict) == "training stopped at step 9: no; it cannot learn; try another"
    remember_verdict(run, verdict)
    (finding,) = examine_run(run).findings
    assert (finding.cause, finding.mend) == (verdict.cause, verdict.mend)


def test_what_was_saved_and_cannot_be_read_is_told(tmp_path: Path) -> None:
    changes = (*_SMALLER, "train.steps=2", "checkpoint.every_steps=1")
    run, _ = make_run(HEALTHY, tmp_path, train=120, validation=30, epochs=1, changes=changes)
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(run / "config.json", bare)
    (begun,) = judge_saved(bare, [])
    assert (begun.name, begun.severity) == ("not-begun", "note")
    rows = read_rows(run / "metrics.jsonl")
    weights, saved = run / "weights.safetensors", checkpoints(run / "checkpoints")
    contents = [path.read_bytes() for path in saved]
    assert len(saved) == 2
    for path, severity in zip(reversed(saved), _SEVERITIES, strict=True):
        path.write_bytes(path.read_bytes()[:-1])
        (found,) = judge_saved(run, rows)
        assert (found.name, found.severity) == ("damaged-checkpoints", severity)
        assert ("--init" in found.mend) == (severity == "error")
    for path, content in zip(saved, contents, strict=True):
        path.write_bytes(content)
    best = weights.read_bytes()
    weights.write_bytes(best[:500])
    found = examine_run(run).findings[0]
    assert found.name == "damaged-weights"
    assert "delete its result.json" in found.mend
    (run / "result.json").unlink()
    resume(run)
    assert len(weights.read_bytes()) == len(best)
    assert judge_saved(run, rows) == []


def test_a_single_bad_file_explains_no_failure() -> None:
    low, labels = (Finding(name, "error", "", "") for name in ("rate-too-low", "labels-do-not-fit"))
    few, many = (Finding("unreadable-images", severity, "", "") for severity in _SEVERITIES)
    assert explained([few, low], False) == [few, low]
    assert explained([many, low], False) == [many]
    dead = Finding("dead-relus", "error", "", "")
    assert explained([labels, dead], False) == [dead]


def test_a_healthy_run_is_left_in_peace(tmp_path: Path) -> None:
    run, said = make_run(
        HEALTHY, tmp_path, train=480, validation=60, epochs=4, changes=_SMALLER[:2]
    )
    assert said is None
    assert read_findings(run) == []
    result = CliRunner().invoke(verbs, ["doctor", str(run), "--json"], catch_exceptions=False)
    document = json.loads(result.stdout)
    assert document["findings"] == []
    assert document["facts"]["steps"] == 60
    assert set(document["facts"]["dead_units"]) == {f"relu{number}" for number in range(1, 8)}


def test_a_class_that_came_later_is_said_in_a_line(tmp_path: Path) -> None:
    changes = (*_SMALLER, "train.alarm=false", "train.steps=5")
    run, _ = make_run(HEALTHY, tmp_path, train=60, validation=30, epochs=1, changes=changes)
    (tmp_path / "images" / "train" / "10").mkdir()
    shutil.copy(next(tmp_path.glob("images/train/0/*")), tmp_path / "images" / "train" / "10")
    with pytest.raises(UserError, match=r"are not those that .* began with"):
        examine_run(run)


def test_a_run_of_a_net_for_small_images_is_examined(tmp_path: Path) -> None:
    rule = ["model.width=0.25", "train.steps=3", "train.device=cpu", "train.batch_size=16"]
    run = Path(train("digits", "cifar-18", tmp_path / "run", rule)["run"])
    facts = examine_run(run).facts
    assert facts["steps"] == 3
    assert facts["smaller_than_network_share"] == 1.0  # 8 pixels, of which it sees 32


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        examine_run(tmp_path)
    (tmp_path / "study.json").touch()
    with pytest.raises(UserError, match="is a study; give one of its runs"):
        examine(str(tmp_path))


def test_the_installation_is_examined_without_an_argument() -> None:
    result = CliRunner().invoke(verbs, ["doctor", "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["subject"] == "installation"


def test_a_unit_is_dead_only_if_it_is_in_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 units ten answer to one image each, which are far apart."""
    answers = torch.zeros(64, 200)
    answers[torch.arange(0, 60, 6), torch.arange(10)] = 1.0
    monkeypatch.setattr(
        network, "quiet_activations", lambda model, images: {"relu6": answers[images.long()]}
    )
    model: Any = None
    for at_once in (7, 64):
        monkeypatch.setattr(network, "_AT_ONCE", at_once)
        (found,) = network._dead(model, torch.arange(64), learned=False)
        assert "95% of the units of relu6" in found.cause
    model = SimpleNamespace(variant=SimpleNamespace(activation="tanh"))
    answers.fill_(0.5)[:62] = 0.99
    for at_once in (7, 64):
        monkeypatch.setattr(network, "_AT_ONCE", at_once)
        (found,) = network._saturated(model, torch.arange(64), learned=True)
        assert "97% of the answers of relu6" in found.cause
        assert found.severity == "warning"
