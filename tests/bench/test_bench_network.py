"""The network's benchmark: what it compares, and that it measures."""

import time

import pytest
import torch

from alexnet.bench import network
from alexnet.bench.best import Way, fastest
from alexnet.bench.ceilings import inference_operations, training_operations
from alexnet.bench.measure import Share, interleaved, table
from alexnet.bench.network import NetworkPlan, bench_inference, bench_training
from alexnet.bench.peers import OnBytes, one_tower, stock_translation
from alexnet.bench.turns import Turn
from alexnet.evaluation import inference
from alexnet.model.changes import resized
from alexnet.model.layers import layer_table
from alexnet.model.network import AlexNet
from alexnet.model.variants import VARIANTS
from alexnet.parallel.world import make_world

CPU = torch.device("cpu")
PAPER = VARIANTS["paper"]


@pytest.mark.parametrize(
    ("make", "parameters"), [(stock_translation, 60_965_224), (one_tower, 61_100_840)]
)
def test_the_peers_are_the_networks_they_claim_to_be(make: object, parameters: int) -> None:
    assert callable(make)
    with torch.device("meta"):
        peer = OnBytes(make())
        images = torch.empty(2, 3, 224, 224, dtype=torch.uint8)
        assert peer(images).shape == (2, 1000)
    assert sum(parameter.numel() for parameter in peer.parameters()) == parameters


def test_our_one_tower_and_the_peers_compute_the_same() -> None:
    ours, peer = AlexNet("one-tower").eval(), one_tower().eval()
    with torch.no_grad():
        for own, other in zip(ours.parameters(), peer.parameters(), strict=True):
            other.copy_(own)
        images = torch.rand(1, 3, 224, 224) * 255
        torch.testing.assert_close(peer(images - ours.mean), ours(images), rtol=1e-4, atol=1e-4)


def test_operations_of_a_step() -> None:
    layers = layer_table(VARIANTS["paper"])
    assert inference_operations(layers) == 2 * 724_406_816
    conv1 = 96 * 55 * 55 * 3 * 11 * 11
    assert training_operations(layers) == 6 * 724_406_816 - 2 * conv1


def test_rows_and_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "matmul_ceiling", lambda *given: lambda: 1e12)
    monkeypatch.setattr(inference, "choose_forms", lambda *given: {})  # takes seconds, once
    plan = NetworkPlan("paper", peers=False, batch_size=1, steps=1, rounds=2)
    world = make_world("cpu", "fp32")
    (training,) = bench_training(plan, world)
    assert training.name == "train/paper"
    assert 0 < training.low <= training.value <= training.high
    assert training.ratios.keys() == {"ceiling/matmul-fp32"}
    assert training.how.startswith("fp32")
    throughput, latency = bench_inference(plan, world)
    assert (throughput.name, throughput.unit) == ("infer/paper", "images/s")
    assert (latency.name, latency.unit) == ("latency/paper", "seconds")


@pytest.mark.parametrize(("variant", "row"), [("paper", "paper"), ("one-tower", "our-one-tower")])
def test_every_peer_has_its_row(variant: str, row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The assembly, with the slow choices taken out; a peer that is missing has no row."""
    quick = Way(lambda: None, "fp32", "quick", PAPER)
    for name in (
        "best_training",
        "best_inference",
        "compiled",
        "_stock",
        "_learning",
        "_answering",
    ):
        monkeypatch.setattr(network, name, lambda *given: quick)
    monkeypatch.setattr(network, "matmul_ceiling", lambda *given: lambda: 1e9)
    monkeypatch.setattr(network, "onnx_runtime", lambda *given: None)
    monkeypatch.setattr(network, "use_fastest_forms", lambda *given: None)
    monkeypatch.setattr(network, "AlexNet", lambda *given: torch.nn.Identity())
    plan = NetworkPlan(variant, peers=True, batch_size=1, steps=1, rounds=1)
    bare = ["without-normalization"] if variant == "paper" else []
    training = bench_training(plan, make_world("cpu", "fp32"))
    assert [row.name.removeprefix("train/") for row in training] == [
        *(row, *bare, "one-tower", "one-tower-compiled", "stock")
    ]
    assert {"train/one-tower", "train/stock", "ceiling/matmul-fp32"} <= training[0].ratios.keys()
    answers = bench_inference(plan, make_world("cpu", "fp32"))
    assert [row.name for row in answers] == [
        f"{what}/{who}"
        for what in ("infer", "latency")
        for who in (row, "one-tower", "one-tower-compiled", "stock")
    ]


def test_images_are_as_large_as_the_variant_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "choose_forms", lambda *given: {})
    variant, world = resized(VARIANTS["caffe"], 1 / 32), make_world("cpu", "fp32")
    assert variant.image_size == 227
    plan = NetworkPlan("caffe", peers=False, batch_size=1, steps=1, rounds=1)
    network._learning(variant, world, plan).step()
    network._answering(AlexNet(variant), world, plan).step()


def test_one_answer_is_waited_for_before_the_next_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(network, "finish", lambda device: done.append("waited"))
    way = Way(lambda: done.append("asked"), "fp32", "quick", PAPER)
    plan = NetworkPlan("paper", peers=False, batch_size=1, steps=1, rounds=1)
    network._waits({"latency/paper": way}, plan, make_world("cpu", "fp32"))
    assert len(done) >= 4
    assert done == ["asked", "waited"] * (len(done) // 2)


def test_shares_and_ratios_are_medians_of_the_rounds() -> None:
    ours, peer, ceiling = (iter(values) for values in ([9, 2, 6, 4], [9, 1, 2, 4], [9, 40, 40, 80]))
    rows = interleaved(
        {"a": lambda: next(ours), "b": lambda: next(peer), "c": lambda: next(ceiling)},
        rounds=3,
        unit={"a": "images/s", "b": "images/s", "c": "FLOP/s"},
        against=["b"],
        shares={"a": Share("c", 10.0)},
        how={"a": "fp32"},
    )
    assert rows[0].value == 4
    assert rows[0].ratios == {"b": 2.0, "c": 0.5}
    assert rows[2].ratios == {}
    assert rows[2].unit == "FLOP/s"
    assert "| a | 4 | 2 | 6 | images/s | fp32 | 2.00x b, 0.50x c |" in table(rows)


def test_the_fastest_form_is_chosen() -> None:
    def slow() -> None:
        sum(range(200_000))

    ways = [Way(slow, "fp32", "slow", PAPER), Way(lambda: None, "fp32", "fast", PAPER)]
    chosen = fastest([lambda way=way: way for way in ways], make_world("cpu"))  # type: ignore[misc]
    assert chosen.how == "fp32, fast"


def test_a_turn_finds_its_steps_and_keeps_given_ones() -> None:
    done: list[int] = []
    Turn(1, 3, CPU).speed(lambda: done.append(1), 1.0)()
    assert len(done) == 1 + 3
    automatic = Turn(1, None, CPU).speed(lambda: done.append(1), 1.0)
    automatic()
    assert len(done) > 50
    counted = len(done)

    def slow() -> None:
        done.append(1)
        time.sleep(0.6)

    Turn(1, None, CPU).speed(slow, 1.0)()
    assert len(done) - counted == 1 + 1 + 3  # for the caches, for the number, for the figure
