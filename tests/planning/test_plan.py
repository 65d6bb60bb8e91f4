"""`alexnet plan` as people and programs see it."""

import json

import pytest

from alexnet.cli import run as command
from alexnet.errors import UserError
from alexnet.parallel.world import make_world
from alexnet.planning.plan import make_plan

SMALL = ["--batch-size", "2", "--image-size", "64", "--classes", "10", "--device", "cpu"]


@pytest.mark.parametrize("measured", [True, False])
def test_the_document(measured: bool, capsys: pytest.CaptureFixture[str]) -> None:
    options = [*SMALL, "--precision", "fp32", "--images", "101"]
    assert command(["plan", *options, *([] if measured else ["--no-measure"]), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["variant"] == "paper"
    memory = document["memory"]
    parts = ("weights", "cast_weights", "gradients", "optimizer", "activations", "workspace")
    assert memory["total"] == sum(memory[part] for part in parts)
    assert memory["weights"] == 4 * document["parameters"]
    kept = 2 * sum(stage["kept"] for stage in document["stages"])
    assert memory["activations"] == pytest.approx(kept, abs=2 * len(document["stages"]))
    time = document["time"]
    assert time["steps_per_epoch"] == 51
    assert time["seconds_per_epoch"] == pytest.approx(101 / time["images_per_second"])
    assert (time["source"] == "measured") is measured
    assert document["largest_batch_size"] > 2


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["plan", *SMALL, "--no-measure"]) == 0
    shown = capsys.readouterr().out
    for words in ("paper, batches of 2, 64 pixels", "peak of a step", "an epoch of 1,281,167"):
        assert words in shown


def test_the_same_verb_plans_several_devices(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--precision", "fp32", "--machine", "a100", "--link", "nvlink", "--device", "cpu"]
    assert command(["plan", "--devices", "4", *options, "--images", "1000", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["processes"] for row in document["rows"]] == [1, 2, 4]
    assert document["images"] == 1000


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--layout", "data"], "add --devices"),
        (["--devices", "2", "--image-size", "64"], "the variant's own image size"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["plan", *options]) == 2
    assert what in capsys.readouterr().err


def test_what_does_not_fit_is_estimated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("alexnet.planning.plan.available_bytes", lambda device: 2**20)
    monkeypatch.setattr("alexnet.planning.plan.measured_time", None)
    plan = make_plan(make_world("cpu", "fp32"), batch_size=2, image_size=64)
    assert plan.largest_batch == 0
    assert "does not fit" in capsys.readouterr().err
    assert plan.time.source.startswith("estimated")


def test_a_variant_that_is_not() -> None:
    with pytest.raises(UserError, match="did you mean"):
        make_plan(make_world("cpu"), variant="papr")
