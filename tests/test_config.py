"""A configuration says everything, reads back as it was, and refuses what it cannot mean."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.config import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
    change,
    from_json,
    keys,
    override,
    read_config,
)
from alexnet.defaults import DataFacts
from alexnet.errors import UserError
from alexnet.recipes import RECIPES

positive = st.floats(1e-12, 1e6)
fraction = st.floats(0.0, 1.0, exclude_max=True)
counts = st.integers(1, 10**6)

configurations = st.builds(
    Config,
    recipe=st.text(),
    model=st.builds(
        ModelConfig,
        variant=st.text(),
        activation=st.sampled_from([None, "relu", "tanh", "sigmoid"]),
        pooling=st.sampled_from([None, "overlapping", "non-overlapping"]),
        normalization=st.sampled_from([None, True, False]),
        columns=st.none() | st.integers(1, 4),
        dropout=st.none() | fraction,
        image_size=st.none() | counts,
        width=st.floats(1e-12, 100.0),
    ),
    data=st.builds(
        DataConfig,
        source=st.text(),
        size=counts,
        validation_fraction=st.floats(0.0, 1.0, exclude_min=True, exclude_max=True),
        workers=st.integers(1, 99),
        mean=st.sampled_from(["image", "channel"]),
    ),
    augment=st.builds(
        AugmentConfig,
        mirror=st.booleans(),
        color=st.sampled_from(["none", "paper", "original"]),
        color_epochs=st.none() | st.integers(0, 99),
    ),
    optimizer=st.builds(
        OptimizerConfig,
        kind=st.sampled_from(["2012", "sgd", "adamw"]),
        lr=positive,
        momentum=fraction,
        layer_rates=st.lists(
            st.tuples(st.sampled_from(["conv1", "fc8"]), st.integers(1, 99), fraction), max_size=3
        ).map(tuple),
    ),
    schedule=st.builds(
        ScheduleConfig,
        kind=st.sampled_from(["constant", "plateau", "steps", "polynomial", "cosine"]),
        milestones=st.sets(st.integers(1, 99)).map(lambda epochs: tuple(sorted(epochs))),
    ),
    train=st.builds(TrainConfig, steps=st.none() | counts, seed=st.integers(0, 2**32 - 1)),
    checkpoint=st.builds(CheckpointConfig, every_steps=st.none() | counts, every_minutes=positive),
    evaluation=st.builds(EvaluationConfig, views=st.sampled_from([1, 9, 10])),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(configurations)
def test_reads_back_what_it_wrote(config: Config) -> None:
    text = config.to_json()
    again = from_json(text)
    assert again == config
    assert again.to_json() == text
    assert {type(value) for value in asdict(again.train).values()} == {
        type(value) for value in asdict(config.train).values()
    }


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_reads_back(recipe: str) -> None:
    config = RECIPES[recipe](DataFacts(images=1_281_167, classes=1000, mirror=True))
    assert from_json(config.to_json()) == config


@pytest.mark.parametrize("key", keys())
def test_every_key_can_be_set_to_what_it_is(key: str) -> None:
    config = RECIPES["original"](DataFacts(images=1000, classes=10, mirror=True))
    section, name = key.split(".")
    value = getattr(getattr(config, section), name)
    assert change(config, key, value) == config
    assert override(config, [f"{key}={json.dumps(value)}"]) == config


@pytest.mark.parametrize(("assignment", "value"), [
    ("optimizer.lr=0.25", 0.25),
    ("optimizer.lr=1", 1.0),
    ("optimizer.lr=1e-3", 0.001),
    (" train.batch_size = 64 ", 64),
    ("train.alarm=false", False),
    ("train.alarm=False", False),
    ("train.steps=null", None),
    ("train.steps=none", None),
    ("data.source=photographs/of=cats", "photographs/of=cats"),
    ('data.source="quoted"', "quoted"),
    ("schedule.milestones=[3, 5]", (3, 5)),
    ('optimizer.layer_rates=[["conv1", 68, 0.1]]', (("conv1", 68, 0.1),)),
])  # fmt: skip
def test_override_takes_json_and_plain_words(assignment: str, value: Any) -> None:
    changed = override(Config(), [assignment])
    section, name = assignment.split("=")[0].strip().split(".")
    found = getattr(getattr(changed, section), name)
    assert found == value
    assert type(found) is type(value)
    assert from_json(changed.to_json()) == changed


@pytest.mark.parametrize(("assignment", "value"), [
    ("optimizer.kind=2012", "2012"),  # a name, not a number
    ("augment.color=none", "none"),  # a word of this key, not the absence of a value
    ("data.source=2012", "2012"),  # a folder may have any name
    ("data.source=none", "none"),
    ("data.source=true", "true"),
])  # fmt: skip
def test_plain_words_of_text_keys_stay_text(assignment: str, value: str) -> None:
    changed = override(Config(), [assignment])
    section, name = assignment.split("=")[0].split(".")
    assert getattr(getattr(changed, section), name) == value


def test_later_assignments_win() -> None:
    assert override(Config(), ["train.seed=1", "train.seed=2"]).train.seed == 2


@pytest.mark.parametrize(("assignment", "said"), [
    ("optimizer.lrr=3", "did you mean 'optimizer.lr'?"),
    ("optimiser.lr=3", "did you mean 'optimizer.lr'?"),
    ("train.batchsize=3", "did you mean 'train.batch_size'?"),
    ("recipe=paper", "unknown configuration key 'recipe'"),
    ("train=3", "unknown configuration key 'train'"),
    ("train.=3", "unknown configuration key 'train.'"),
    ("train.seed", "--set wants section.key=value, not 'train.seed'"),
    ("train.batch_size=many", "train.batch_size must be of type int, not 'many'"),
    ("train.batch_size=2.5", "train.batch_size must be of type int, not 2.5"),
    ("train.batch_size=true", "train.batch_size must be of type int, not True"),
    ("train.batch_size=null", "train.batch_size must be of type int, not None"),
    ("train.alarm=1", "train.alarm must be of type bool, not 1"),
    ("optimizer.lr=fast", "optimizer.lr must be of type float, not 'fast'"),
    ("schedule.milestones=3", "schedule.milestones must be"),
    ("schedule.milestones=[3.5]", "schedule.milestones must be of type int, not 3.5"),
    ('optimizer.layer_rates=[["conv1", 68]]', "optimizer.layer_rates must be"),
    ("optimizer.kind=sdg", "did you mean 'sgd'?"),
    ("evaluation.views=5", "(known: 1, 9, 10)"),
    ("evaluation.views=true", "(known: 1, 9, 10)"),
])  # fmt: skip
def test_what_cannot_be_meant_is_one_line(assignment: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        override(Config(), [assignment])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("assignment", [
    *("model.columns=0", "model.dropout=1.0", "model.dropout=-0.1", "model.width=0"),
    *("data.size=0", "data.workers=0", "data.validation_fraction=0"),
    *("data.validation_fraction=1", "augment.color_strength=-1"),
    *("optimizer.lr=0", "optimizer.lr=-1", "optimizer.lr=NaN", "optimizer.momentum=1"),
    *("optimizer.weight_decay=-1", "schedule.warmup_epochs=-1", "schedule.factor=1"),
    *("schedule.factor=0", "schedule.patience=0", "schedule.milestones=[5,3]"),
    *("schedule.milestones=[3,3]", "train.epochs=0", "train.steps=0", "train.batch_size=0"),
    *("train.seed=-1", "train.seed=4294967296", "train.log_every_steps=0"),
    *("train.evaluate_every_epochs=0", "checkpoint.every_steps=0"),
    *("checkpoint.every_minutes=0", "evaluation.batch_size=0"),
    *("schedule.power=-2", "schedule.power=NaN", "optimizer.bias_lr_floor=-1"),
    *("schedule.power=Infinity", "optimizer.lars_eta=Infinity", "model.width=1e308"),
    *("train.timeout_seconds=Infinity", "schedule.warmup_epochs=Infinity"),
    f"optimizer.lr={10**400}",
])  # fmt: skip
def test_values_out_of_range_name_their_key(assignment: str) -> None:
    key, value = assignment.split("=")
    with pytest.raises(UserError, match=key):
        override(Config(), [assignment])
    section, name = key.split(".")
    with pytest.raises(UserError, match=key):
        from_json(json.dumps({section: {name: json.loads(value)}}))


@pytest.mark.parametrize("assignment", [
    "optimizer.lr=Infinity",
    "model.width=Infinity",
    "schedule.drops=-1",
    "schedule.final_factor=-0.5",
    "optimizer.bias_lr_factor=-1",
    'optimizer.layer_rates=[["conv9", 1, 0.0]]',  # freezes nothing, without a word
])  # fmt: skip
def test_values_without_a_meaning_are_refused(assignment: str) -> None:
    with pytest.raises(UserError):
        override(Config(), [assignment])


@pytest.mark.parametrize(("text", "said"), [
    ("{", "the configuration is not JSON"),
    ("[]", "the configuration must be a JSON object"),
    ('{"train": 3}', "train must be a JSON object"),
    ('{"train": {"batch_size": "big"}}', "train.batch_size must be of type int, not 'big'"),
    ('{"trian": {}}', "unknown configuration key 'trian'; did you mean 'train'?"),
    ('{"optimizer": {"momentun": 0.9}}', "'optimizer.momentun'; did you mean"),
    ('{"optimizer": {"lrr": 0.9}}', "'optimizer.lrr'; did you mean"),
])  # fmt: skip
def test_files_that_are_no_configuration_are_one_line(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        from_json(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_keys_keep_their_defaults() -> None:
    assert from_json("{}") == Config()
    assert from_json('{"train": {"seed": 3}}') == replace(Config(), train=TrainConfig(seed=3))


def test_errors_of_a_file_name_the_file(tmp_path: Path) -> None:
    good, bad, absent = (tmp_path / name for name in ("good.json", "bad.json", "absent.json"))
    good.write_text(Config().to_json())
    bad.write_bytes(b"\xff\xfe")
    assert read_config(good) == Config()
    for path in (bad, absent):
        with pytest.raises(UserError, match=str(path)):
            read_config(path)
    bad.write_text('{"train": {"sead": 3}}')
    with pytest.raises(UserError, match=r"bad.json: unknown configuration key .*sead"):
        read_config(bad)


def test_the_2012_numbers_of_the_recipes() -> None:
    """Section 5 and the authors' files, literally: decay is 0.0005, not a decay of the rate."""
    facts = DataFacts(images=1_261_406, classes=1000, mirror=True)
    paper, original = (RECIPES[name](facts) for name in ("paper", "original"))
    for config in (paper, original):
        assert config.optimizer.kind == "2012"
        assert config.optimizer.lr == 0.01
        assert config.optimizer.momentum == 0.9
        assert config.optimizer.weight_decay == 0.0005
        assert config.train.batch_size == 128
        assert config.schedule.factor == 0.1
        assert config.evaluation.views == 10
        assert config.data.mean == "image"
        assert config.data.size == 256
        assert config.model.variant == config.recipe
        assert config.augment.crop == "random"
        assert config.augment.color == config.recipe
        assert config.augment.color_strength == 0.1
    assert (paper.schedule.kind, paper.schedule.drops) == ("plateau", 3)
    assert paper.train.epochs == 120  # at most: plateaus end it, after "roughly 90 cycles" in 2012
    assert paper.optimizer.bias_lr_factor == 1.0
    assert (original.schedule.kind, original.train.epochs) == ("steps", 93)
    assert original.optimizer.bias_lr_factor == 2.0
