"""Whether training waits for images: the same steps on real batches and on one that is there."""

import time
from collections.abc import Iterator
from itertools import repeat

from alexnet.bench.measure import Row, interleaved, row
from alexnet.bench.turns import learning_step, our_network
from alexnet.data.batches import Batch, TrainingFeed, training_batches
from alexnet.model.variants import VARIANTS
from alexnet.parallel.world import World, finish
from alexnet.training.arrivals import on_device


def bench_feeding(
    feed: TrainingFeed, kind: str, world: World, steps: int, rounds: int, workers: int
) -> list[Row]:
    """The network of the paper, fed from a store against fed one batch, and the share of waiting.

    Args:
        feed: of images that the network takes.
        kind: where their pixels live, for the names of the rows.
        world: where the network computes.
        steps: of a turn.
        rounds: that count.
        workers: threads that read ahead.
    """
    model = our_network(VARIANTS["paper"], world)
    learn = learning_step(model, world)
    waits: list[float] = []

    def speed(batches: Iterator[Batch]) -> float:
        finish(world.device)
        began, waited, seen = time.perf_counter(), 0.0, 0
        for _ in range(steps):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            learn(batch.colored(model.mean), batch.labels)
            seen += batch.total
        finish(world.device)
        seconds = time.perf_counter() - began
        waits.append(waited / seconds)
        return seen / seconds

    there = repeat(next(training_batches(feed, 0, 1, 1)).to(world.device))
    batches = on_device(training_batches(feed, 0, steps * (rounds + 1), workers), world.device)
    rows = interleaved(
        {
            f"training/fed-{kind}": lambda: speed(batches),
            "training/synthetic": lambda: speed(there),
        },
        rounds,
        "images/s",
        against=["training/synthetic"],
    )
    of_the_feed = waits[2::2]  # every other turn, without the round that does not count
    return [*rows, row(f"training/waiting-{kind}", of_the_feed, "of the time")]
