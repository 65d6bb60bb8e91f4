"""What the defaults choose, and that every choice is said with its reason."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.config import override, setting
from alexnet.data.prepare import prepare
from alexnet.defaults import DataFacts, choices, reasons
from alexnet.model.catalog import resolve
from alexnet.model.cifar import CifarNet
from alexnet.model.cifar_variants import CIFAR_VARIANTS
from alexnet.recipes import RECIPES, default, finetune
from alexnet.training.choices import resolve_config, usual_recipe
from alexnet.training.optimizer import build_optimizer
from alexnet.training.schedule import Moment, rates


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 2_000_000), st.integers(2, 1000), st.booleans(), st.booleans())
def test_every_choice_is_what_the_configuration_says(
    images: int, classes: int, mirror: bool, gray: bool
) -> None:
    facts = DataFacts(images, classes, mirror=mirror, gray=gray)
    config = default(facts)
    assert all(setting(config, c.key) == c.value for c in choices(facts))
    lines = reasons(facts, config, config)
    assert len(lines) >= len(choices(facts)) + 1
    assert all(choice.reason for choice in choices(facts))
    for chosen in (config, finetune(facts)):
        assert chosen.schedule.warmup_epochs <= max(0.5, chosen.train.epochs / 7)


def test_many_images_are_trained_as_in_the_paper() -> None:
    config = default(DataFacts(1_281_167, 1000, mirror=True))
    assert (config.train.batch_size, config.optimizer.lr, config.train.epochs) == (128, 0.01, 90)


def test_dropout_is_less_than_the_papers_between_few_images_and_many() -> None:
    dropouts = {n: default(DataFacts(n, 10, mirror=True)).model.dropout for n in (160, 800, 50_000)}
    assert dropouts == {160: 0.5, 800: 0.3, 50_000: 0.5}


def test_what_the_user_sets_changes_what_goes_with_it() -> None:
    facts = DataFacts(1000, 10, mirror=True)
    assert default(facts).optimizer.lr == pytest.approx(0.005)
    large = DataFacts(1000, 10, mirror=True, batch_size=128)
    assert default(large).optimizer.lr == pytest.approx(0.01)
    everything = replace(facts, batch_size=100_000)  # more than there are
    most = replace(facts, batch_size=facts.images)
    assert default(everything).optimizer.lr == default(most).optimizer.lr
    short = DataFacts(1000, 10, mirror=True, epochs=7)
    assert default(short).schedule.warmup_epochs == pytest.approx(1.0)


def test_augmentation_follows_the_images() -> None:
    plain = default(DataFacts(1000, 10, mirror=False, crop=False, gray=True)).augment
    assert (plain.crop, plain.mirror, plain.color) == ("center", False, "none")
    rich = default(DataFacts(1000, 10, mirror=True)).augment
    assert (rich.crop, rich.mirror, rich.color) == ("random", True, "paper")


def test_user_values_are_said_to_be_the_users() -> None:
    facts = DataFacts(1000, 10, mirror=True, side=20)
    config = default(facts)
    lines = reasons(facts, config, override(config, ["optimizer.lr=0.1"]))
    assert "  optimizer.lr 0.1: as you say (it would be 0.005)" in lines
    assert any("images of 20 pixels are enlarged" in line for line in lines)
    small = override(config, ["data.size=72", "model.image_size=64"])
    assert not any("enlarged" in line for line in reasons(facts, config, small))
    constant = reasons(facts, config, override(config, ["schedule.kind=constant"]))
    assert not any("a straight line" in line for line in constant)
    batches = default(chosen := replace(facts, batch_size=48))
    assert reasons(chosen, batches, batches)[1] == (
        "  train.batch_size 48: as you say (it would be 32), "
        "1,000 images make 21 steps an epoch of it"
    )


def test_a_prepared_set_is_taken_as_it_is_where_crops_have_room(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(image_folder, tmp_path / "set", size=72, workers=1)

    def size(*assignments: str) -> int:
        return resolve_config(str(tmp_path / "set"), None, assignments).data.size

    assert size("model.image_size=64") == 72
    assert "data.size 72: the set was prepared so" in capsys.readouterr().err
    assert size("model.image_size=64", "data.size=80") == 80
    assert "data.size 80: as you say (it would be 72)" in capsys.readouterr().err
    assert size("model.image_size=72") == 256
    assert size() == 256


def test_a_prepared_set_too_small_for_the_network_is_said_to_be() -> None:
    facts = DataFacts(1000, 10, mirror=True, side=128, stored=128)
    config = default(facts)
    assert config.data.size == 256
    hint = "squares of 128 pixels are enlarged to it; --set model.image_size=112 is faster"
    assert hint in reasons(facts, config, config)[-1]


def test_fine_tuning_is_gentle_and_says_so() -> None:
    facts = DataFacts(1000, 10, mirror=True, side=20)
    config = override(finetune(facts), ["train.init=run"])
    assert config.optimizer.lr == pytest.approx(0.0005)
    assert config.optimizer.layer_rates == (("fc8", 1, 10.0),)
    lines = reasons(facts, config, config)
    assert "  optimizer.lr 0.0005: fine-tuning, from scratch 0.005" in lines
    assert "  optimizer.layer_rates fc8: 10 times that rate" in lines
    assert not any("faster" in line for line in lines)  # its network is that of the run


def test_what_a_network_brings_along_is_said_in_words() -> None:
    """A run of the recipe `paper`, or a weights file, says nothing of its dropout."""
    facts = DataFacts(1000, 10, mirror=True)
    fitted = override(finetune(facts), ["model.dropout=none", "train.init=run"])
    lines = reasons(facts, fitted, fitted)
    assert any(
        line.startswith("  model.dropout the network's own: as in the run") for line in lines
    )


def test_a_schedule_keeps_its_shape_in_other_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    """All drops of the recipe `original`, and what is said of them; what the user sets stays."""
    short = resolve_config("digits", "original", ["train.epochs=31"])
    assert (short.train.epochs, short.schedule.milestones) == (31, (8, 18, 27))
    assert short.augment.color_epochs == 22
    assert "  schedule.milestones (8, 18, 27): moved along" in capsys.readouterr().err
    own = resolve_config("digits", "original", ["train.epochs=31", "schedule.milestones=[23]"])
    assert own.schedule.milestones == (23,)
    assert resolve_config("digits", "original", []).schedule.milestones == (23, 51, 78)


def test_large_batches_bring_their_rate_along() -> None:
    facts = DataFacts(1_281_167, 1000, mirror=True, batch_size=1024)
    config = RECIPES["batch-8k"](facts)
    assert (config.train.batch_size, config.optimizer.lr) == (1024, 1.25)


@pytest.mark.parametrize("variant", sorted(CIFAR_VARIANTS))
def test_nets_for_small_images_bring_their_own_rule(variant: str) -> None:
    config = resolve_config("digits", None, [f"model.variant={variant}"])
    assert config.model.variant == variant
    assert config.recipe in ("cifar-18", "cifar-13", "cifar-11")
    assert config.optimizer.bias_lr_factor == 2.0


# layer-params-{18pct,conv-local-13pct,conv-local-11pct}.cfg: epsW, epsB, decay of each layer, and
# the rates of weights and biases in the last epochs.
AUTHORS = {
    "cifar-18": ({"conv1": 0.004, "conv2": 0.004, "conv3": 0.004, "fc10": 1.0}, 1e-5, 2e-5),
    "cifar-13": (
        {"conv1": 0.0, "conv2": 0.0, "local3": 0.004, "local4": 0.004, "fc10": 0.004},
        1e-5,
        2e-3,
    ),
    "cifar-11": (
        {"conv1": 0.0, "conv2": 0.0, "local3": 0.004, "local4": 0.004, "fc10": 0.01},
        1e-5,
        2e-3,
    ),
}


@pytest.mark.parametrize("variant", AUTHORS)
def test_nets_for_small_images_are_trained_as_the_authors_did(variant: str) -> None:
    decays, last, last_of_biases = AUTHORS[variant]
    config = RECIPES[variant](DataFacts(50_000, 10, mirror=True))
    groups = build_optimizer(CifarNet(variant), config.optimizer).param_groups
    found = {group["layer"]: group["weight_decay"] for group in groups if not group["is_bias"]}
    assert found == decays
    assert not any(group["weight_decay"] for group in groups if group["is_bias"])
    assert (config.optimizer.momentum, config.train.batch_size) == (0.9, 128)
    steps = config.train.epochs
    for step, expected in ((0, (0.001, 0.002)), (steps - 1, (last, last_of_biases))):
        now = rates(config.optimizer, config.schedule, Moment(step, steps, 1, []))
        assert (now.of("fc10", False), now.of("fc10", True)) == pytest.approx(expected)


@pytest.mark.parametrize("variant", ["cifar-13", "cifar-11"])
def test_they_see_random_crops_of_24_pixels_and_are_measured_by_nine(variant: str) -> None:
    config = RECIPES[variant](DataFacts(50_000, 10, mirror=True))
    assert (config.augment.crop, config.augment.mirror) == ("random", True)
    assert (config.data.size, resolve(config.model).image_size) == (32, 24)
    assert config.evaluation.views == 9


def test_fine_tuning_and_the_paper_keep_theirs() -> None:
    assert usual_recipe("original") == "default"
    assert usual_recipe("cifar-11", fine_tuned=True) == "finetune"


def test_the_images_may_be_named_by_their_key(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their choices are made for them, and their path lasts."""
    monkeypatch.chdir(image_folder.parent)
    named = resolve_config(None, None, [f"data.source={image_folder.name}"])
    assert named == resolve_config(str(image_folder), None, [])


def test_blanks_around_a_key_change_nothing() -> None:
    written = resolve_config("digits", None, ["train.epochs = 3", " model.image_size = 64"])
    assert written == resolve_config("digits", None, ["train.epochs=3", "model.image_size=64"])
