"""Each sickness is named from its metrics alone, and the healthy are left in peace."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alexnet.config import ModelConfig
from alexnet.training.checks import Facts, bottleneck, check_run, shares

EVEN = Facts(0.01, np.full(10, 0.1), validation_images=500)
LAYERS = ("conv1", "conv3", "fc6", "fc8")


def healthy(steps: int = 400) -> list[dict[str, Any]]:
    """A run that learns: rows every 10 steps, an epoch of 50."""
    rows: list[dict[str, Any]] = []
    for step in range(10, steps + 1, 10):
        loss = 2.4 * (1.0 - step / steps) + 0.1
        row: dict[str, Any] = {
            "step": step,
            "epoch": step / 50,
            "split": "train",
            "loss": loss,
            "top1_error": min(0.9, loss / 2.4),
            "update_ratios": dict.fromkeys(LAYERS, 2e-3),
            "batch_mixing": 1.0,
            "images": 32 * step,
            "images_per_second": 100.0,
            "data_wait_fraction": 0.01,
        }
        if step == 10 or step % 50 == 0:
            row |= {"signal": 0.1, "dead_units": {"relu3": 0.1, "relu7": 0.3}}
        rows.append(row)
        if step % 50 == 0:
            rows.append(
                {
                    "step": step,
                    "epoch": step / 50,
                    "split": "val",
                    "loss": loss + 0.1,
                    "top1_error": min(0.9, loss / 2.4 + 0.05),
                }
            )
    return rows


def stuck(**changes: Any) -> list[dict[str, Any]]:
    """A run that stays at the loss of guessing, with changes in every training row."""
    rows = []
    for row in healthy():
        at_chance = {**row, "loss": 2.303, "top1_error": 0.9}
        rows.append({**at_chance, **changes} if row["split"] == "train" else at_chance)
    return rows


def names(rows: list[dict[str, Any]], facts: Facts = EVEN, ended: bool = True) -> list[str]:
    return [finding.name for finding in check_run(rows, facts, ended)]


def test_the_healthy_are_left_in_peace_at_every_moment() -> None:
    rows = healthy()
    for end in range(len(rows) + 1):
        assert names(rows[:end], ended=False) == []
    assert names(rows) == []
    # Those that begin slowly are too: at the loss of guessing for three epochs.
    slow = [{**row, "loss": 2.5} if row["epoch"] < 3 else row for row in rows]
    for end in range(len(rows) + 1):
        assert names(slow[:end], ended=False) == []


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        (stuck(loss=None), "rate-too-high"),
        (stuck(loss=None, update_ratios=dict.fromkeys(LAYERS)), "rate-too-high"),
        (stuck(update_ratios=dict.fromkeys(LAYERS, 0.1)), "rate-too-high"),
        (stuck(update_ratios=dict.fromkeys(LAYERS, 2e-5)), "rate-too-low"),
        (stuck(signal=1e-4), "drowned-signal"),
        (stuck(dead_units={"relu2": 0.0, "relu6": 0.97}), "dead-relus"),
        (stuck(batch_mixing=0.15), "not-shuffled"),
        (stuck(), "labels-do-not-fit"),
    ],
)
def test_each_sickness_is_named_alone(rows: list[dict[str, Any]], name: str) -> None:
    found = check_run(rows, EVEN, ended=True)
    assert [finding.name for finding in found] == [name]
    assert found[0].severity == "error"
    assert found[0].cause
    assert found[0].mend
    assert "\n" not in found[0].line()


@pytest.mark.parametrize(
    ("model", "mend"),
    [
        (
            ModelConfig("paper-literal"),
            "give images with their full range 0 to 255, and use --variant paper (0.03 in conv3-5) "
            "or a larger model.initial_scale",
        ),
        (
            ModelConfig("paper", activation="relu"),
            "give images with their full range 0 to 255, or use a larger model.initial_scale",
        ),
        (
            ModelConfig("paper", activation="tanh"),
            "use model.activation=relu or a larger model.initial_scale",
        ),
    ],
)
def test_a_drowned_signal_is_not_mended_by_what_the_run_has_already(
    model: ModelConfig, mend: str
) -> None:
    (found,) = check_run(stuck(signal=1e-4), replace(EVEN, model=model), ended=True)
    assert found.mend == mend
    assert ("too small for tanh," in found.cause) is (model.activation == "tanh")


def test_no_symptom_is_named_before_its_cause_can_be() -> None:
    """A rate that is far too high kills units first: the watch waits and names the rate."""
    rows = stuck(update_ratios=dict.fromkeys(LAYERS, 0.1), dead_units={"relu2": 0.97})
    assert names(rows[:1], ended=False) == []
    assert names(rows[:2], ended=False) == ["rate-too-high"]


def test_the_rate_to_try_is_a_tenth_or_ten_times() -> None:
    too_high = check_run(stuck(update_ratios=dict.fromkeys(LAYERS, 0.1)), EVEN)
    assert "--lr 0.001" in too_high[0].mend
    too_low = check_run(stuck(update_ratios=dict.fromkeys(LAYERS, 2e-5)), EVEN)
    assert "--lr 0.1" in too_low[0].mend


def test_memorised_labels_do_not_fit_either() -> None:
    rows = [row if row["split"] == "train" else {**row, "top1_error": 0.9} for row in healthy()]
    assert names(rows) == ["labels-do-not-fit"]


def test_a_validation_from_before_the_learning_is_no_evidence() -> None:
    """At chance after epoch 3, and nearly done within epoch 4: the validation is merely old."""
    rows = [
        {**row, "loss": 0.5 if row["epoch"] > 3 else 2.3} if row["split"] == "train" else row
        for row in healthy()
    ]
    rows = [{**row, "top1_error": 0.9} if row["epoch"] <= 3 else row for row in rows]
    for end in range(len(rows) + 1):
        assert names(rows[:end], ended=False) == []


def test_a_class_that_dominates_is_named_from_the_first_row_on() -> None:
    skewed = Facts(0.01, np.array([0.99, 0.01]), validation_images=100)
    assert names(healthy()[:1], skewed, ended=False) == ["one-class-dominates"]
    assert skewed.blind_error == pytest.approx(0.01)
    assert skewed.chance_loss == pytest.approx(0.056, abs=1e-3)


def over_fitted(errors: Callable[[float], float]) -> list[dict[str, Any]]:
    """A run whose validation loss is least after epoch 3, with an error for each epoch."""
    return [
        row
        if row["split"] == "train"
        else {**row, "top1_error": errors(row["epoch"]), "loss": 1.5 if row["epoch"] == 3 else 2.5}
        for row in healthy()
    ]


def test_over_fitting_needs_a_gap_and_a_loss_that_rises_again() -> None:
    rows = over_fitted(lambda epoch: 0.5)
    (finding,) = check_run(rows, EVEN, ended=True)
    assert finding.name == "over-fitting"
    assert "epoch 3" in finding.cause
    first = next(row for row in rows if row["split"] == "val")
    first["loss"] = None  # it was no number
    (finding,) = check_run(rows, EVEN, ended=True)
    assert "epoch 3" in finding.cause
    assert names([{**r, "loss": 1.5} if r["split"] == "val" else r for r in rows]) == []


def test_fewer_epochs_are_no_mend_while_the_error_falls() -> None:
    (falling,) = check_run(over_fitted(lambda epoch: 0.6 - 0.01 * epoch), EVEN, ended=True)
    (rising,) = check_run(over_fitted(lambda epoch: 0.4 + 0.01 * abs(epoch - 3)), EVEN, ended=True)
    assert falling.name == rising.name == "over-fitting"
    assert "--epochs" not in falling.mend
    assert rising.mend.endswith("or --epochs 3")


def test_waiting_for_data_is_a_note_and_only_after_a_while() -> None:
    rows = [{**row, "data_wait_fraction": 0.6} for row in healthy()]
    assert names(rows) == ["data-bound"]
    assert names(rows[:10], ended=False) == []


def test_a_while_is_told_from_the_images_whatever_the_batch() -> None:
    """500 images at 100 a second are 5 seconds, in batches of 5 as of 128."""
    rows = [{**row, "data_wait_fraction": 0.6, "images": 500} for row in healthy()]
    assert names(rows) == []
    assert bottleneck(rows) is None
    longer = [{**row, "images": 5000} for row in rows if row["split"] == "train"]
    assert bottleneck(longer) == "data-bound"
    assert bottleneck([{**row, "data_wait_fraction": 0.1} for row in longer]) == "compute-bound"


def test_shares_are_those_of_the_classes() -> None:
    assert shares(np.array([0, 0, 2, 2]), 4).tolist() == [0.5, 0.0, 0.5, 0.0]


def test_guessing_is_measured_by_the_classes_of_the_validation_images() -> None:
    """Skewed in training and even in validation: an error of 15 % is far from guessing's 50."""
    facts = Facts(0.01, np.array([0.85, 0.15]), 200, validation_shares=np.array([0.5, 0.5]))
    assert facts.blind_error == pytest.approx(0.5)
    rows = [
        {**row, "loss": 0.1} if row["split"] == "train" else {**row, "top1_error": 0.15}
        for row in healthy()
    ]
    assert names(rows, facts) == []
    assert names(rows, Facts(0.01, facts.shares, 200)) == ["labels-do-not-fit"]


@pytest.mark.parametrize(
    ("share", "images", "error"), [(0.5, 10, 0.2), (0.5, 10, 0.5), (0.85, 200, 0.11)]
)
def test_few_images_do_not_make_an_error_that_of_guessing(
    share: float, images: int, error: float
) -> None:
    rows = [
        {**row, "loss": 0.1} if row["split"] == "train" else {**row, "top1_error": error}
        for row in healthy()
    ]
    assert names(rows, Facts(0.01, np.array([share, 1 - share]), images)) == []


def test_units_that_come_back_are_not_dead() -> None:
    rows = stuck()
    train = [row for row in rows if row["split"] == "train"]
    train[2]["dead_units"] = {"relu7": 0.95}
    assert names(rows[: rows.index(train[2]) + 1], ended=False) == []
    train[3]["dead_units"] = {"relu7": 0.3}
    assert "dead-relus" not in names(rows)
    train[4]["dead_units"] = train[5]["dead_units"] = {"relu7": 0.95}
    assert names(rows[: rows.index(train[5]) + 1], ended=False) == ["dead-relus"]


def test_labels_are_blamed_with_what_was_measured_only() -> None:
    unseen = [
        {key: value for key, value in row.items() if key not in ("dead_units", "signal")}
        for row in stuck()
    ]
    (found,) = check_run(unseen, EVEN, ended=True)
    assert "although updates and order are healthy" in found.cause
