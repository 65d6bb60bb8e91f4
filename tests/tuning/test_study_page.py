"""The page of a study, from trials that nobody trained."""

import re
from pathlib import Path

import pytest

from alexnet.config import Config
from alexnet.tuning.halving import Plan, Score, Trial
from alexnet.tuning.page import verdict, write_page
from alexnet.tuning.space import point_of
from alexnet.tuning.study import Study, progress

_RANKED_LAST = Score(1.0, 1e9)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path, Config(), Plan(4, (1, 3)), seed=0, storage="folder", name="study")


@pytest.fixture
def trials(study: Study) -> list[Trial]:
    """One that stops at the first rung, the best, and two that fail, one of them later."""
    point = point_of(study.space, study.config)
    return [
        Trial(0, point, 0, {0: Score(0.5, 1.0)}),
        Trial(1, point, 1, {0: Score(0.4, 1.0), 1: Score(0.25, 1.0)}),
        Trial(2, point, 0, {0: _RANKED_LAST}, "it has collapsed"),
        Trial(3, point, 1, {0: Score(0.3, 1.0), 1: _RANKED_LAST}, "the loss is not a number"),
    ]


def test_a_failure_has_no_error_where_nobody_measured_one(
    study: Study, trials: list[Trial]
) -> None:
    page = write_page(study, trials).read_text()
    assert re.findall("<th>lowest error by epoch (.*?)</th>", page) == ["1", "3"]
    rows = [re.findall("<td.*?>(.*?)</td>", row) for row in re.findall("(?s)<tr.*?</tr>", page)]
    table = {row[0]: (*row[1:3], row[-1]) for row in rows if row and row[0].isdecimal()}
    assert table == {
        "0": ("50.00 %", "–", ""),
        "1": ("40.00 %", "25.00 %", ""),
        "2": ("–", "–", "it has collapsed"),
        "3": ("30.00 %", "–", "the loss is not a number"),
    }
    assert "at their rung, or failed." in page


def test_the_verdict_says_what_was_measured_and_how_many_failed(
    study: Study, trials: list[Trial]
) -> None:
    words = verdict(study, trials)
    assert words.startswith(
        "Trial 1 is the best of 4 (2 failed): its lowest top-1 error is 25.00% by epoch 3; "
        "that of the defaults (trial 0) is 50.00% by epoch 1."
    )
    assert "failed" not in verdict(study, trials[:2])
    assert verdict(study, []) == "No trial has been evaluated yet."
    assert verdict(study, trials[2:3]).startswith("All 1 trials failed, the first because it has")
    assert progress(study, trials).endswith(
        "the best is trial 1: lowest top-1 error 25.00% by epoch 3 of 3"
    )
