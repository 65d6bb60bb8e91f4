"""The verb `bench`: where the rows go, whatever becomes of the later ones."""

import json
from pathlib import Path

import pytest

from alexnet.bench import all as all_benches
from alexnet.bench.measure import Row, row
from alexnet.cli import run as command
from alexnet.errors import UserError


def test_a_place_that_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worked: list[str] = []
    monkeypatch.setattr(all_benches, "measure", lambda what, *more, **options: worked.append(what))
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "inside", Path("/proc")):
        assert command(["bench", "data", "--out", str(place)]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"alexnet: {place}")
        assert said.endswith("; name another place\n")
    assert worked == []


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_rows_are_kept_when_a_later_part_fails(
    as_json: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: object) -> list[Row]:
        raise UserError("no compiler; get one")

    measured = row("ceiling/copy", [2.0], "bytes/s")
    monkeypatch.setattr(all_benches, "bench_ceilings", lambda *arguments: [measured])
    monkeypatch.setattr(all_benches, "bench_training", fail)
    assert command(["bench", "train", "--out", str(tmp_path), *as_json]) == 2
    shown = capsys.readouterr()
    assert shown.err == "alexnet: no compiler; get one\n"
    rows = json.loads(next(tmp_path.glob("train_*.json")).read_text())["rows"]
    assert [entry["name"] for entry in rows] == ["ceiling/copy"]
    if as_json:
        assert json.loads(shown.out) == rows
    else:
        assert "| ceiling/copy | 2 |" in shown.out


def test_nothing_measured_is_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> list[Row]:
        raise UserError("no such images")

    monkeypatch.setattr(all_benches, "bench_data", fail)
    assert command(["bench", "data", "--out", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []
