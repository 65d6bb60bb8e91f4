"""The model of scaling: what must hold whatever the numbers, and what was published."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.errors import UserError
from alexnet.model.variants import VARIANTS
from alexnet.parallel.world import make_world
from alexnet.planning.scaling import (
    MACHINES,
    RECORDS,
    WIRES,
    Machine,
    Wire,
    Work,
    parameters_held,
    predict,
    scaling,
    to_pass,
)
from alexnet.planning.scaling_report import plan_scaling, scaling_lines, scaling_to_json

PAPER = VARIANTS["paper"]
counts = st.integers(0, 10).map(lambda power: 2**power)
layouts = st.sampled_from(["data", "columns", "hybrid"])


def test_by_hand() -> None:
    """Two replicas, 128 images: 64 x 1 ms, 61 M updates of 1 ns, 244 MB at 1 GB/s, two hops."""
    machine = Machine(1e-3, step_seconds=0.01, update_seconds=1e-9)
    made = predict(machine, Wire(1e-3, 1e9, 1e9), Work(PAPER), "data", 2)
    assert made.computation == pytest.approx(0.074)
    assert made.update == pytest.approx(0.060965224)
    assert made.gradients == pytest.approx(0.243860896 + 2e-3)
    assert made.exchange == 0.0


def test_overlap_hides_no_more_than_the_backward_pass() -> None:
    machine = Machine(1e-3)
    bare = predict(machine, Wire(0, 1e9, 1e9), Work(PAPER), "data", 2)
    hidden = predict(machine, Wire(0, 1e9, 1e9, overlap=1.0), Work(PAPER), "data", 2)
    assert bare.gradients - hidden.gradients == pytest.approx(0.064 * 2 / 3)


def test_processes_that_share_cores() -> None:
    machine = Machine(1.0, cores=4, doubling=1.8)
    slower = [machine.slowdown(n) for n in (1, 2, 4, 8, 12)]
    assert slower == pytest.approx([1.0, 1.8, 1.8**2, 2 * 1.8**2, 3 * 1.8**2])
    assert replace(machine, cores=None).slowdown(8) == 1.0


def test_parameters_of_a_process() -> None:
    work = Work(PAPER)
    assert parameters_held(work, "data", 2) == 60_965_224
    assert parameters_held(work, "columns", 2) == 30_482_612
    assert parameters_held(work, "hybrid", 2) == 2_334_080 + math.ceil(58_631_144 / 2)


@given(layout=layouts, processes=counts, batch=st.integers(1, 1 << 16))
def test_more_bandwidth_or_speed_is_never_slower(layout: str, processes: int, batch: int) -> None:
    if layout == "columns" and processes % 2:
        return
    work = Work(PAPER, batch_size=batch)
    slow, fast = Wire(1e-5, 1e9, 1e9), Wire(1e-5, 1e10, 1e10)
    before = predict(MACHINES["a100"], slow, work, layout, processes)
    assert predict(MACHINES["a100"], fast, work, layout, processes).seconds <= before.seconds
    quick = Machine(MACHINES["a100"].image_seconds / 2)
    assert predict(quick, slow, work, layout, processes).seconds <= before.seconds
    assert before.seconds > 0


@given(devices=st.integers(1, 1024))
def test_ends_at_the_number_asked_for(devices: int) -> None:
    rows = scaling(MACHINES["a100"], WIRES["nvlink"], Work(PAPER), "auto", devices)
    assert rows[0].layout == "one"
    assert rows[-1].processes == devices


def test_eight_p100_are_as_fast_as_their_log_says() -> None:
    """16,861 images/s in batches of 1024 with all gradients hidden (NVIDIA/caffe's log)."""
    row = scaling(MACHINES["p100"], WIRES["nvlink"], Work(PAPER, batch_size=1024), "data", 8)[-1]
    assert row.images_per_second == pytest.approx(16_861, rel=0.02)


def test_what_passes_a_record_is_enough_and_not_too_much() -> None:
    wire, work = WIRES["infiniband-400"], Work(PAPER)
    record = RECORDS[1]
    needed = to_pass(record, wire, work, "data", 64)
    assert needed is not None
    now = replace(work, batch_size=record.batch_size)
    wanted = record.batch_size / record.images_per_second
    assert predict(Machine(1 / needed), wire, now, "data", 64).seconds <= wanted * 1.001
    assert predict(Machine(1.1 / needed), wire, now, "data", 64).seconds > wanted
    assert to_pass(record, replace(wire, sum=1e6), work, "data", 64) is None


def test_the_plan_in_words_and_as_json() -> None:
    world = make_world("cpu", "fp32")
    plan = plan_scaling(world, "paper", 1000, 256, 16, "auto", "a100", "nvlink", weak=True)
    text = "\n".join(scaling_lines(plan))
    assert "Jia et al." in text
    document = scaling_to_json(plan)
    assert [row["processes"] for row in document["rows"]] == [1, 2, 4, 8, 16]
    assert document["rows"][-1]["batch_size"] == 4096
    assert len(document["records"]) == len(RECORDS)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"variant": "papr"}, "did you mean 'paper'"),
        ({"machine": "a10"}, "did you mean 'a100'"),
        ({"link": "nvlnk"}, "did you mean 'nvlink'"),
        ({"layout": "columns", "devices": 3}, "multiple of 2"),
        ({"variant": "caffe", "layout": "columns"}, "across its columns"),
    ],
)
def test_mistakes(changes: dict[str, object], what: str) -> None:
    options = {"variant": "paper", "num_classes": 10, "batch_size": 8, "devices": 4}
    with pytest.raises(UserError, match=what):
        plan_scaling(make_world("cpu", "fp32"), **(options | changes))  # type: ignore[arg-type]


def test_one_device_is_the_first_row_of_a_layout() -> None:
    """A training of one process refuses it; a plan only compares."""
    world = make_world("cpu", "fp32")
    (row,) = plan_scaling(world, "paper", 1000, 128, 1, "data", "a100", "nvlink").rows
    assert row.processes == 1
