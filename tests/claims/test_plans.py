"""Plans are pure functions of what is known: they can be played through without training."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from alexnet.claims import relu
from alexnet.claims.catalog import CLAIMS
from alexnet.claims.claim import Claim, Run, Setting, Values
from alexnet.claims.execute import directory
from alexnet.claims.measures import epochs_until, error_before
from alexnet.claims.scales import SCALES
from alexnet.model.catalog import resolve

SETTING = Setting(SCALES["cpu"], "cifar10")


def play(claim: Claim, answer: Callable[[Run], Values]) -> dict[tuple[str, int], Values]:
    """What is known in the end, if every run has the values that `answer` gives."""
    known: dict[tuple[str, int], Values] = {}
    for _ in range(500):
        missing = [run for run in claim.plan(SETTING, known) if run.key not in known]
        if not missing:
            return known
        known[missing[0].key] = answer(missing[0])
    raise AssertionError("the plan does not end")


def values_at(run: Run, best: dict[str, tuple[float, float]]) -> Values:
    """Epochs that rise with the distance from the best rate, by 1.5 for each two; so do errors."""
    units = str(run.config.model.activation)
    rate, least = best[units]
    steps = abs(math.log2(run.config.optimizer.lr / rate))
    epochs = least * 1.5**steps + 0.1 * run.seed
    return {
        "pilot_error": 0.1 * 1.5**steps,
        "epochs_to_goal": epochs if math.isfinite(epochs) else None,
    }


def test_figure_1_finds_each_rate_and_runs_fresh_seeds() -> None:
    best = {"relu": (0.004, 6.0), "tanh": (0.001, 30.0), "sigmoid": (0.032, math.inf)}
    known = play(relu.CLAIM, lambda run: values_at(run, best))
    seeds = {arm: sorted(s for a, s in known if a == arm) for arm, _ in known}
    assert seeds["figure-1-relu-0.004"] == seeds["figure-1-tanh-0.001"] == [0, 1, 2, 3]
    assert seeds["figure-1-relu-0.008"] == seeds["figure-1-relu-0.002"] == [0]
    assert seeds["figure-1-sigmoid-0.032"] == [0, 1]
    finding = relu.CLAIM.find(SETTING, known)
    rows = {q.name: q for q in finding.quantities}
    ours = rows["epochs of tanh over those of ReLU"]
    assert ours.paper == 6.0
    assert ours.mean == pytest.approx(30.2 / 6.2, rel=1e-3)
    assert ours.low is not None
    assert ours.low > 4
    assert "confirmed" in finding.verdict
    # A run that does not reach the goal is a lower bound, of which there is no interval.
    sigmoid = rows["epochs of sigmoid over those of ReLU, at least"]
    assert sigmoid.mean == pytest.approx(60 / 6.2, rel=1e-3)
    assert rows["epochs to 25 % training error, sigmoid at rate 0.032, at least"].mean == 60


def test_figure_1_makes_no_ratio_of_bounds() -> None:
    best = {"relu": (0.004, 6.0), "tanh": (0.001, math.inf), "sigmoid": (0.032, math.inf)}

    def answer(run: Run) -> Values:
        return values_at(run, best)

    def without_goal(run: Run) -> Values:
        return {**answer(run), "epochs_to_goal": None}

    finding = relu.CLAIM.find(SETTING, play(relu.CLAIM, answer))
    (tanh,) = (q for q in finding.quantities if q.name.startswith("epochs of tanh"))
    assert (tanh.mean, tanh.low) == (pytest.approx(60 / 6.2, rel=1e-3), None)
    assert "in the paper's direction" in finding.verdict
    finding = relu.CLAIM.find(SETTING, play(relu.CLAIM, without_goal))
    assert "not measured" in finding.verdict


def test_figure_1_says_it_where_tanh_is_faster() -> None:
    best = {"relu": (0.002, 30.0), "tanh": (0.002, 6.0), "sigmoid": (0.008, 60.0)}
    known = play(relu.CLAIM, lambda run: values_at(run, best))
    assert "contradicted" in relu.CLAIM.find(SETTING, known).verdict


def test_figure_1_gives_up_rates_that_lose_the_loss() -> None:
    known = play(relu.CLAIM, lambda run: {"pilot_error": None, "epochs_to_goal": None})
    assert {seed for _, seed in known} == {0}
    assert "not measured" in relu.CLAIM.find(SETTING, known).verdict


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
@pytest.mark.parametrize("scale", SCALES.values(), ids=list(SCALES))
def test_every_claim_plans_runs_that_can_be_built(claim: Claim, scale) -> None:  # type: ignore[no-untyped-def]
    setting = Setting(scale, "somewhere/data")
    runs = claim.plan(setting, {})
    assert runs
    places = {directory(Path(), run) for run in runs}
    assert len(places) == len(runs)
    for run in runs:
        resolve(run.config.model)
        assert run.config.train.seed == run.seed
        assert run.config.data.source == "somewhere/data"
    finding = claim.find(setting, {})  # nothing is known yet
    assert "not measured" in finding.verdict or claim.name == "tables"
    assert all(quantity.mean is None for quantity in finding.quantities)


def test_the_average_of_table_2_takes_five_networks_unless_told() -> None:
    plan = CLAIMS["tables"].plan
    full = Setting(SCALES["full"], "prepared")
    assert len(plan(full, {})) == 5
    asked = Setting(replace(SCALES["full"], seeds=2, averaged=None), "prepared")
    assert len(plan(asked, {})) == 2


def test_claims_share_the_runs_they_have_in_common() -> None:
    places = {
        name: {directory(Path(), run) for run in CLAIMS[name].plan(SETTING, {})}
        for name in ("depth", "dropout", "ten-views", "retrieval", "specialisation")
    }
    common = set.intersection(*places.values())
    assert len(common) == SETTING.scale.seeds
    assert all(place.name.startswith("reference-seed") for place in common)


def test_the_place_of_the_data_does_not_name_a_run_but_its_name_does() -> None:
    def place(data: str) -> Path:
        return directory(Path(), CLAIMS["depth"].plan(Setting(SCALES["cpu"], data), {})[0])

    assert place("/here/imagenette") == place("/there/imagenette") != place("/here/imagewoof")


def train_row(epoch: float, error: float | None) -> dict[str, object]:
    return {"split": "train", "epoch": epoch, "top1_error": error, "loss": error}


def test_epochs_until_by_hand() -> None:
    """Rows end at 0.5, 1, 1.5 and stand for 0.25, 0.75, 1.25; 0.25 lies a third of the way."""
    rows = [train_row(0.5, 0.9), train_row(1.0, 0.30), train_row(1.5, 0.15)]
    assert epochs_until(rows, 0.25) == pytest.approx(0.75 + 0.5 / 3)
    assert epochs_until(rows, 0.1) is None
    assert epochs_until(rows[:1], 0.95) == 0.25
    assert epochs_until([train_row(0.5, None), *rows], 0.25) is None  # the loss was lost
    validation = {"split": "val", "epoch": 0.1, "top1_error": 0.0}
    assert epochs_until([validation, *rows], 0.25) == pytest.approx(0.75 + 0.5 / 3)


def test_one_lucky_batch_is_not_the_goal() -> None:
    """A row of a hundredth of an epoch is joined with the next: (0.01 x 0.2 + 0.49 x 0.4) / 0.5."""
    rows = [train_row(0.5, 0.5), train_row(0.51, 0.2), train_row(1.0, 0.4)]
    assert epochs_until(rows, 0.25) is None
    joined = (0.01 * 0.2 + 0.49 * 0.4) / 0.5
    assert epochs_until(rows, joined) == pytest.approx(0.75)


def test_error_before_by_hand() -> None:
    """Of the epoch before 1.5: the last quarter of the second row, and all of the third."""
    rows = [train_row(0.25, 0.9), train_row(0.75, 0.4), train_row(1.5, 0.2), train_row(2.0, 0.0)]
    assert error_before(rows, 1.75) == pytest.approx(0.25 * 0.4 + 0.75 * 0.2)
    assert error_before(rows[:1], 6.0) == pytest.approx(0.9)


def test_epochs_on_the_way_down_by_hand() -> None:
    """From 100 over 60 to 40: half of the way to 40 is 70, reached at 0.75; with dropout at 1.5."""
    quick, slow = [[1.0, 60.0], [2.0, 40.0]], [[1.0, 80.0], [2.0, 60.0], [3.0, 40.0]]
    measured = {
        (arm, seed): {"curve": curve, "top1_error": 40.0, "train_top1_error": 40.0}
        for arm, curve in (("reference", slow), ("no-dropout", quick))
        for seed in (0, 1)
    }
    finding = CLAIMS["dropout"].find(SETTING, measured)
    ratios = {q.name.split(",")[0]: q.mean for q in finding.quantities if q.unit == "ratio"}
    assert ratios == {
        "epochs to 50 % of the way (70 % error)": pytest.approx(1.5 / 0.75),
        "epochs to 75 % of the way (55 % error)": pytest.approx(2.25 / 1.25),
        "epochs to 100 % of the way (40 % error)": pytest.approx(3.0 / 2.0),
    }


def test_a_level_that_is_rounded_is_reached_all_the_same() -> None:
    """100 - (100 - x) is less than x for a quarter of the errors that there can be."""
    last = 100 * 1152 / 3925
    assert 100.0 - (100.0 - last) < last
    measured = {
        (arm, 0): {"curve": [[5, 70.0], [15, last]], "top1_error": last, "train_top1_error": last}
        for arm in ("reference", "no-dropout")
    }
    finding = CLAIMS["dropout"].find(SETTING, measured)
    assert [q.mean for q in finding.quantities if q.unit == "ratio"] == [1.0] * 3


def test_the_noise_of_one_network_is_not_that_of_another() -> None:
    """With one seed the nets of 13 and 11 % have no interval, whatever that of 18 % has."""
    errors = {"cifar-18": (25.5, 26.1), "cifar-18-off": (25.0, 24.9), "cifar-11": (19.4,)}
    errors |= {"cifar-11-off": (19.6,), "cifar-13": (19.8,)}
    measured = {
        (arm, seed): {"top1_error": value}
        for arm, values in errors.items()
        for seed, value in enumerate(values)
    }
    finding = CLAIMS["normalisation"].find(SETTING, measured)
    has_interval = {q.name: q.low is not None for q in finding.quantities}
    assert has_interval["test error, cifar-18"]
    assert not has_interval["test error, cifar-13"]
    assert not has_interval["normalisation of the 11 % net alone"]


def test_the_papers_numbers_are_not_shown_for_images_of_another_year() -> None:
    full = Setting(SCALES["full"], "ILSVRC2012")
    for year, expected in ((2010, 39.0), (2012, None)):
        values = {f"top{k}_error_{v}": 40.0 for k in (1, 5) for v in (1, 10)} | {"year": year}
        finding = CLAIMS["ten-views"].find(full, {("reference", 0): values})
        assert finding.quantities[0].paper == expected
        assert "centre patch" not in " ".join(finding.notes)
