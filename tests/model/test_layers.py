"""The arithmetic of layers against the numbers of the reference, worked out by hand there."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alexnet.config import ModelConfig
from alexnet.errors import UserError
from alexnet.model.changes import differences, resolve
from alexnet.model.layers import layer_table, neurons, overhang, smallest_image
from alexnet.model.network import AlexNet
from alexnet.model.variants import VARIANTS, WEIGHT_LAYERS, Variant

# name: output, parameters (weights and biases), multiply-adds of one image.
TABLE_1_1 = {
    "conv1": ((96, 55, 55), 34_944, 105_415_200),
    "conv2": ((256, 27, 27), 307_456, 223_948_800),
    "conv3": ((384, 13, 13), 885_120, 149_520_384),
    "conv4": ((384, 13, 13), 663_936, 112_140_288),
    "conv5": ((256, 13, 13), 442_624, 74_760_192),
    "fc6": ((4096,), 37_752_832, 37_748_736),
    "fc7": ((4096,), 16_781_312, 16_777_216),
    "fc8": ((1000,), 4_097_000, 4_096_000),
}
HALF = {
    "conv1": ((48, 55, 55), 17_472, 52_707_600),
    "conv2": ((128, 27, 27), 153_728, 111_974_400),
    "conv3": ((192, 13, 13), 221_376, 37_380_096),
    "conv4": ((192, 13, 13), 331_968, 56_070_144),
    "conv5": ((256, 13, 13), 442_624, 74_760_192),
    **{name: TABLE_1_1[name] for name in ("fc6", "fc7", "fc8")},
}
ONE_TOWER = {
    "conv1": ((64, 55, 55), 23_296, 70_276_800),
    "conv2": ((192, 27, 27), 307_392, 223_948_800),
    "conv3": ((384, 13, 13), 663_936, 112_140_288),
    "conv4": ((256, 13, 13), 884_992, 149_520_384),
    "conv5": ((256, 13, 13), 590_080, 99_680_256),
    **{name: TABLE_1_1[name] for name in ("fc6", "fc7", "fc8")},
}
NO_EXCHANGE = {
    **TABLE_1_1,
    "conv3": ((384, 13, 13), 442_752, 74_760_192),
    "fc6": ((4096,), 18_878_464, 18_874_368),
    "fc7": ((4096,), 8_392_704, 8_388_608),
}
NET_150 = {
    **TABLE_1_1,
    "conv2": ((320, 27, 27), 384_320, 279_936_000),
    "conv3": ((384, 13, 13), 553_344, 93_450_240),
    "fc6": ((8192,), 37_756_928, 37_748_736),
    "fc7": ((4096,), 16_781_312, 16_777_216),
}
WITHOUT_CONV3 = {
    **{name: row for name, row in TABLE_1_1.items() if name != "conv3"},
    "conv4": ((384, 13, 13), 442_752, 74_760_192),
}
WITHOUT_CONV4 = {name: row for name, row in TABLE_1_1.items() if name != "conv4"}
WITHOUT_CONV5 = {
    **{name: row for name, row in TABLE_1_1.items() if name != "conv5"},
    "fc6": ((4096,), 56_627_200, 56_623_104),
}
TABLES = {
    **dict.fromkeys(("paper", "paper-literal", "original", "caffe", "caffenet"), TABLE_1_1),
    "half": HALF,
    "no-exchange": NO_EXCHANGE,
    "no-exchange-150": NET_150,
    "without-conv3": WITHOUT_CONV3,
    "without-conv4": WITHOUT_CONV4,
    "without-conv5": WITHOUT_CONV5,
    "one-tower": ONE_TOWER,
}
TOTALS = {  # parameters, multiply-adds
    **dict.fromkeys(
        ("paper", "paper-literal", "original", "caffe", "caffenet"), (60_965_224, 724_406_816)
    ),
    "half": (59_798_312, 391_514_384),
    "no-exchange": (33_259_880, 622_383_648),
    "no-exchange-150": (60_714_408, 724_323_872),
    "without-conv3": (59_858_920, 537_506_336),
    "without-conv4": (60_301_288, 612_266_528),
    "without-conv5": (79_396_968, 668_520_992),
    "one-tower": (61_100_840, 714_188_480),
}


def test_every_variant_is_tested() -> None:
    assert set(TABLES) == set(TOTALS) == set(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_layers_with_weights(name: str) -> None:
    table = {layer.name: layer for layer in layer_table(VARIANTS[name])}
    found = {
        layer: (table[layer].output, table[layer].parameters, table[layer].macs)
        for layer in WEIGHT_LAYERS
        if layer in table
    }
    assert found == TABLES[name]
    assert (
        sum(layer.parameters for layer in table.values()),
        sum(layer.macs for layer in table.values()),
    ) == TOTALS[name]


@pytest.mark.parametrize("name", VARIANTS)
def test_pooling_layers(name: str) -> None:
    table = {layer.name: layer for layer in layer_table(VARIANTS[name])}
    sides = {stage: table[stage].output[1:] for stage in ("pool1", "pool2", "pool5")}
    assert sides == {"pool1": (27, 27), "pool2": (13, 13), "pool5": (6, 6)}
    last = "conv4" if name == "without-conv5" else "conv5"
    for stage, layer in (("pool1", "conv1"), ("pool2", "conv2"), ("pool5", last)):
        assert table[stage].output[0] == table[layer].output[0]
        assert table[stage].parameters == table[stage].macs == 0


def test_neurons_as_the_paper_counts_them() -> None:
    """ "650,000 neurons": 55x55x96 in layer 1, where the caption of Figure 2 has a slip."""
    counted = 290_400 + 186_624 + 64_896 + 64_896 + 43_264 + 4096 + 4096 + 1000
    assert neurons(layer_table(VARIANTS["paper"])) == counted == 659_272


def test_without_columns_the_network_has_62_million_parameters() -> None:
    """The usual mistake: conv2, conv4 and conv5 see all maps."""
    table = layer_table(resolve(ModelConfig(columns=1)))
    assert sum(layer.parameters for layer in table) == 62_378_344
    assert sum(layer.macs for layer in table) == 1_135_256_096
    assert {layer.name: layer.parameters for layer in table}["conv2"] == 614_656


def test_pooling_without_overlap_keeps_the_grids() -> None:
    """layers-147.cfg: 55 -> 28 -> 26 -> 13 -> 13 -> 13 -> 11 -> 6."""
    table = layer_table(resolve(ModelConfig(pooling="non-overlapping")))
    sides = {layer.name: layer.output[1] for layer in table if len(layer.output) == 3}
    assert [sides[name] for name in ("conv1", "pool1", "conv2", "pool2")] == [55, 28, 26, 13]
    assert [sides[name] for name in ("conv3", "conv4", "conv5", "pool5")] == [13, 13, 11, 6]
    assert sum(layer.parameters for layer in table) == 60_965_224


@given(image_size=st.integers(36, 300))
def test_pooling_without_overlap_keeps_the_network_as_large(image_size: int) -> None:
    """Or a comparison at another size would compare two things at once."""
    pair = [
        layer_table(resolve(ModelConfig(image_size=image_size, pooling=pooling)))
        for pooling in (None, "non-overlapping")
    ]
    sizes = [[(layer.name, layer.parameters) for layer in table] for table in pair]
    assert sizes[0] == sizes[1]


def test_pooling_without_overlap_is_refused_where_no_padding_helps() -> None:
    with pytest.raises(UserError, match=r"would change the size of without-conv5 at 224 pixels"):
        resolve(ModelConfig("without-conv5", pooling="non-overlapping"))


def test_outputs_follow_the_number_of_classes() -> None:
    table = layer_table(VARIANTS["paper"], num_classes=10)
    assert table[-1].output == (10,)
    assert table[-1].parameters == 40_970
    assert sum(layer.parameters for layer in table) == 60_965_224 - 4_097_000 + 40_970


def test_windows_hang_over_by_three_pixels_at_224() -> None:
    """1 + ceil((224 - 11) / 4) = 55 windows; the last begins at 216 and ends at 226."""
    assert overhang(224, 11, 4) == 3
    assert overhang(227, 11, 4) == 0
    assert [overhang(size, 11, 4) for size in (11, 12, 13, 14, 15)] == [0, 3, 2, 1, 0]


@pytest.mark.parametrize("name", VARIANTS)
def test_smallest_image(name: str) -> None:
    variant = VARIANTS[name]
    smallest = smallest_image(variant)
    table = layer_table(replace(variant, image_size=smallest))
    pool5 = next(layer for layer in table if layer.name == "pool5")
    assert pool5.output[1:] == (1, 1)
    with pytest.raises(UserError, match=f"use at least {smallest} pixels"):
        layer_table(replace(variant, image_size=smallest - 1))


def test_a_size_that_is_no_size_is_a_user_error() -> None:
    for size in (0, -5, 3):
        with pytest.raises(UserError, match="too small"):
            layer_table(resolve(ModelConfig(image_size=size)))


@pytest.mark.parametrize(("change", "said"), [
    (ModelConfig(columns=3), "columns"),  # 256 kernels do not split into three columns
    (ModelConfig(variant="one-tower", normalization=True), "normali"),  # it has none to switch on
    (ModelConfig(variant="papper"), "did you mean 'paper'"),
])  # fmt: skip
def test_impossible_changes_are_user_errors(change: ModelConfig, said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolve(change)


def test_no_change_is_the_variant_itself() -> None:
    for name, variant in VARIANTS.items():
        assert resolve(ModelConfig(variant=name)) is variant


def test_changes_of_a_configuration() -> None:
    def changed(**changes: object) -> set[str]:
        variant = resolve(ModelConfig(**changes))  # type: ignore[arg-type]
        return {field for field, _, _ in differences(VARIANTS["paper"], variant)}

    assert changed(activation="tanh") == {"activation"}
    assert changed(columns=1) == {"columns"}
    assert changed(dropout=0.0) == {"dropout"}
    assert changed(image_size=96) == {"image_size", "weight_std"}
    assert changed(width=0.5) == {"widths", "hidden", "weight_std"}
    assert changed(normalization=False) == {"order"}
    assert changed(normalization=True, pooling="overlapping") == set()
    assert changed(pooling="non-overlapping") == {
        "pooling_window", "conv2_padding", "conv5_padding",
    }  # fmt: skip
    assert not any("norm" in s for s in resolve(ModelConfig("original", normalization=False)).order)


@pytest.mark.parametrize("width", [1 / 64, 1 / 16, 0.3, 2.0])
def test_width_keeps_the_columns_equal(width: float) -> None:
    variant = resolve(ModelConfig(width=width))
    assert all(channels % 2 == 0 for channels in variant.widths)
    for narrow, full in zip(variant.widths, VARIANTS["paper"].widths, strict=True):
        assert abs(narrow - max(2, full * width)) <= 1
    assert layer_table(variant)[-1].output == (1000,)


@pytest.mark.parametrize("change", [{"width": 1 / 8}, {"image_size": 64}, {"image_size": 256}])
@pytest.mark.parametrize("name", ["paper", "original", "half", "no-exchange", "without-conv5"])
def test_signals_stay_as_large_as_in_the_full_network(name: str, change: dict[str, Any]) -> None:
    """A sum of n products of independent numbers is as large as the root of n times one of them."""

    def sizes(variant: Variant) -> list[float]:
        with torch.device("meta"):
            model = AlexNet(variant, seed=None)
        return [
            std * model.get_parameter(f"{layer}.weight")[0].numel() ** 0.5
            for layer, std in zip(WEIGHT_LAYERS, variant.weight_std or (), strict=True)
            if layer in variant.weight_layers
        ]

    assert sizes(resolve(ModelConfig(name, **change))) == pytest.approx(sizes(VARIANTS[name]))


def test_the_table_of_variants_says_what_the_reference_says() -> None:
    """Section 5 of the reference: one line a difference, and no others."""
    paper = VARIANTS["paper"]

    def lines(name: str) -> dict[str, object]:
        return {field: b for field, _, b in differences(paper, VARIANTS[name])}

    assert paper.weight_std == (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)
    assert paper.bias == (0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0)
    assert paper.dropout == 0.5
    assert paper.dropout_scaling == "test"
    assert lines("paper-literal") == {"weight_std": (0.01,) * 8}
    assert set(lines("original")) == {"order", "normalization"}
    assert set(lines("half")) == {"columns", "widths"}
    common = {"image_size", "conv1_overhang", "normalization", "dropout_scaling", "weight_std"}
    assert set(lines("caffe")) == common | {"bias"}
    assert set(lines("caffenet")) == common | {"order"}
    for name in ("caffe", "caffenet"):
        assert lines(name)["weight_std"] == (0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01)
    assert lines("caffe")["bias"] == (0.0, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.0)

    def norm(variant: Variant) -> tuple[object, ...]:
        n = variant.normalization
        return n.size, n.alpha, n.beta, n.k, n.divide_alpha, n.inside_column

    assert norm(paper) == (5, 1e-4, 0.75, 2.0, False, True)
    assert norm(VARIANTS["original"]) == (5, 1e-4, 0.75, 2.0, True, True)
    assert norm(VARIANTS["caffe"]) == norm(VARIANTS["caffenet"])
    assert norm(VARIANTS["caffe"]) == (5, 1e-4, 0.75, 1.0, True, False)
