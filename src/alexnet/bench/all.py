"""What `alexnet bench` measures: the network learning, the network answering, images coming."""

from collections.abc import Iterator
from pathlib import Path

from alexnet.bench.ceilings import bench_ceilings
from alexnet.bench.data import Plan, bench_data
from alexnet.bench.measure import Row
from alexnet.bench.network import NetworkPlan, bench_inference, bench_training
from alexnet.bench.normalization import bench_normalization
from alexnet.bench.peak import bench_memory
from alexnet.bench.start import bench_start
from alexnet.bench.turns import usual_batch_size
from alexnet.parallel.world import World
from alexnet.process import cores


def measure(
    what: str,
    world: World,
    variant: str,
    images: Path | None,
    peers: bool,
    count: int,
    batch_size: int | None,
    steps: int | None,
    rounds: int,
    only: str | None = None,
) -> Iterator[Row]:
    """The rows of `train`, `infer`, `data` or `all` as they come; arguments as for the command.

    A batch size of None is 64 on a processor and 1024 on a GPU; steps of None are as many as take a
    second, three at least.

    Raises:
        UserError: images that cannot be used, or a part that cannot be measured here.
    """
    batch_size = batch_size or usual_batch_size(world)
    plan = NetworkPlan(variant, peers, batch_size, steps, rounds)
    if what in ("train", "infer", "all"):
        yield from bench_ceilings(rounds, world)
    if what in ("train", "all"):
        yield from bench_training(plan, world)
        yield from bench_normalization(world, rounds)
        yield from bench_memory(variant, peers, world)
        yield from bench_start(variant, batch_size, rounds, world)
    if what in ("infer", "all"):
        yield from bench_inference(plan, world)
    if what in ("data", "all"):
        yield from bench_data(Plan(images, peers, count, rounds, cores(), world, only))
