"""`alexnet info`: what it says of variants and runs, and of runs that it cannot describe."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from alexnet.cli import run as command
from alexnet.config import Config
from alexnet.model.catalog import ALL_VARIANTS
from alexnet.model.describe import describe, layer_lines
from alexnet.model.header import FORMAT


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run before its first epoch has ended."""
    (tmp_path / "config.json").write_text(Config().to_json())
    return tmp_path


def write_weights(run: Path, **header: str) -> Path:
    """The part of a weights file that is looked at."""
    path = run / "weights.safetensors"
    save_file({"anything": np.zeros(1, np.float32)}, path, metadata={"format": FORMAT} | header)
    return run


def outputs(run: Path, num_classes: int | None = None) -> int:
    return describe(str(run), num_classes).layers[-1].output[0]


def test_the_weights_say_how_many_classes_a_run_has(run: Path) -> None:
    assert outputs(run) == 1000
    assert outputs(run, 5) == 5
    write_weights(run, classes=json.dumps(["cat", "dog", "horse"]))
    assert outputs(run) == outputs(run, 3) == 3


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"format": "of-others"}, "weights.safetensors was not written by alexnet"),
        ({}, "do not fit their own header: 'classes'"),
        ({"classes": "["}, "do not fit their own header: Expecting value"),
        ({"classes": "3"}, "do not fit their own header: object of type 'int'"),
        ({"classes": "[1, 2]"}, "has 2 classes; leave out --classes 5"),
    ],
)
def test_weights_that_are_damaged_of_others_or_of_other_classes_are_one_line(
    header: dict[str, str], said: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["info", str(write_weights(run, **header)), "--classes", "5"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_weights_that_cannot_be_read_are_one_line(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "weights.safetensors").write_bytes(b"not weights")
    assert command(["info", str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot read the weights" in line


def test_names_of_variants_do_not_run_into_their_summaries() -> None:
    lines = layer_lines(describe("paper"), list_variants=True)
    for name, variant in ALL_VARIANTS.items():
        (line,) = (line for line in lines if line.startswith(f"  {name}  "))
        assert line.endswith(f"  {variant.summary}")
