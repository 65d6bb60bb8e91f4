"""The network's benchmark: what it compares, and that it measures."""

import torch

from alexnet.bench.network import NetworkPlan, bench_inference, bench_training
from alexnet.bench.peers import OnBytes, stock_translation
from alexnet.parallel.world import make_world


def test_the_stock_translation_is_the_network_of_2012() -> None:
    with torch.device("meta"):
        network = OnBytes(stock_translation())
        images = torch.empty(2, 3, 224, 224, dtype=torch.uint8)
        assert network(images).shape == (2, 1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == 60_965_224


def test_rows_and_ratios() -> None:
    plan = NetworkPlan("paper", peers=False, batch_size=1, steps=1, rounds=2)
    world = make_world("cpu", "fp32")
    (training,) = bench_training(plan, world)
    assert training.name == "train/paper"
    assert 0 < training.low <= training.value <= training.high
    throughput, latency = bench_inference(plan, world)
    assert (throughput.name, throughput.unit) == ("infer/paper", "images/s")
    assert (latency.name, latency.unit) == ("latency/paper", "seconds")
