"""`alexnet plan` as people and programs see it."""

import json

import pytest
import torch

from alexnet.cli import run as command
from alexnet.data.loading import Place
from alexnet.errors import UserError
from alexnet.parallel.world import World, make_world
from alexnet.planning import plan
from alexnet.planning.plan import fusion_on, make_plan
from alexnet.planning.report import plan_lines
from alexnet.planning.timing import StepTime

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
    made = make_plan(make_world("cpu", "fp32"), batch_size=2, image_size=64)
    assert made.largest_batch == 0
    assert "does not fit" in capsys.readouterr().err
    assert made.time.source.startswith("estimated")


@pytest.mark.parametrize(("kind", "share"), [("device", 1.0), ("device-yuv", 0.5), ("host", 0.0)])
def test_resident_pixels_leave_less_for_the_step(
    kind: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `train` will keep on the GPU is not there for the batch."""
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(plan, "available_bytes", lambda device: 8 * 2**30)
    monkeypatch.setattr(plan, "fusion_on", lambda world: "all")
    monkeypatch.setattr(plan, "estimated_time", lambda *given: StepTime(1.0, "made up"))
    place = Place(kind, gpu, 256, 1)
    monkeypatch.setattr(plan, "choose_place", lambda *given, **named: place)
    made = make_plan(World(0, 1, gpu, "bf16"), images=10_000, no_measure=True)
    assert made.pixels == share * 10_000 * 256 * 256 * 3
    beside = int(0.9 * 8 * 2**30) - made.pixels
    assert made.largest_batch == made.memory.largest_batch(beside)
    assert any("pixels of an epoch" in line for line in plan_lines(made)) is (share > 0)


def test_a_gpu_fuses_what_a_processor_fuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "way_of", lambda x, stage: "triton")
    assert fusion_on(make_world("cpu", "fp32")) == "all"


def test_a_variant_that_is_not() -> None:
    with pytest.raises(UserError, match="did you mean"):
        make_plan(make_world("cpu"), variant="papr")
