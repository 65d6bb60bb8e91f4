"""The metrics file: whole rows, cut back to the checkpoint, readable whatever happened."""

import json
import math
import resource
from pathlib import Path

import pytest

from alexnet.files import CannotWriteError
from alexnet.rows import RowLog, read_rows


def test_rows_come_back(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = RowLog(path, 0)
    rows = [{"step": 1, "loss": 1 / 3, "split": "train"}, {"step": 2, "loss": 0.25, "split": "val"}]
    for row in rows:
        log.append(row)
    assert read_rows(path) == rows
    assert log.length == path.stat().st_size


def test_numbers_that_json_cannot_hold_become_null(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    ratios = {"conv1": math.nan, "fc8": 0.1}
    row = {"loss": math.nan, "rate": -math.inf, "step": 3, "update_ratios": ratios}
    RowLog(path, 0).append(row)
    (line,) = path.read_text().splitlines()
    strict = json.loads(line, parse_constant=lambda name: 1 / 0)
    ratios = {"conv1": None, "fc8": 0.1}
    assert strict == {"loss": None, "rate": None, "step": 3, "update_ratios": ratios}


def test_what_lies_beyond_the_checkpoint_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = RowLog(path, 0)
    log.append({"step": 1})
    saved = log.length
    log.append({"step": 2})
    path.write_bytes(path.read_bytes() + b'{"step": 3, "lo')  # killed while writing
    again = RowLog(path, saved)
    assert again.length == saved
    again.append({"step": 2, "again": True})
    assert read_rows(path) == [{"step": 1}, {"step": 2, "again": True}]


def test_a_last_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2')
    assert read_rows(path) == [{"step": 1}]
    assert read_rows(tmp_path / "absent.jsonl") == []


def test_a_file_shorter_than_the_checkpoint_says_stays_readable(tmp_path: Path) -> None:
    """After a power failure the checkpoint may have reached the disk and the last rows not."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n')
    log = RowLog(path, 100)
    log.append({"step": 9})
    assert read_rows(path) == [{"step": 1}, {"step": 9}]
    assert log.length == path.stat().st_size


def test_half_a_row_that_a_power_cut_left_is_cut_off(tmp_path: Path) -> None:
    """Within what the checkpoint counts, or in a file that is kept whole."""
    path = tmp_path / "metrics.jsonl"
    for length in (100, 14, None):
        path.write_text('{"step": 1}\n{"ste')
        log = RowLog(path, length)
        assert log.length == 12
        log.append({"step": 2})
        assert read_rows(path) == [{"step": 1}, {"step": 2}]


def test_a_place_that_cannot_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(CannotWriteError, match=r"cannot write .*absent"):
        RowLog(tmp_path / "absent" / "findings.jsonl")


def test_a_full_disk_is_said_in_a_line(tmp_path: Path) -> None:
    """And the half row is cut off when the run goes on."""
    log = RowLog(tmp_path / "metrics.jsonl", 0)
    log.append({"step": 1})
    size, before = log.length, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5, before[1]))
    try:
        with pytest.raises(CannotWriteError, match=r"cannot write .*metrics.jsonl"):
            log.append({"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert log.length == size
    RowLog(tmp_path / "metrics.jsonl", log.length).append({"step": 3})
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [1, 3]
