"""`alexnet bench`."""

import json
from pathlib import Path
from typing import Any

import click

from alexnet.verbs.group import verbs
from alexnet.verbs.options import as_json_option, device_option, place


@verbs.command()
@click.argument(
    "what", type=click.Choice(["train", "infer", "data", "scaling", "all"]), default="all"
)
@click.option("--variant", default="paper", help="Which network.  [paper]")
@click.option("--images", type=place, help="Pictures; default: made here.")
@click.option("--peers", is_flag=True, help="Measure what others offer in the same rounds.")
@click.option("--count", type=click.IntRange(min=8), default=1024, help="How many pictures.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Of steps.  [64; GPU: 1024]")
@click.option(
    "--steps", type=click.IntRange(min=1), help="In a round.  [as many as take 1 s, or 3]"
)
@click.option("--rounds", type=click.IntRange(min=1), default=5, help="How often each is run.")
@click.option(
    "--only",
    type=click.Choice(["native", "batches", "resident", "training", "memory"]),
    help="One part of `data`.",
)
@click.option("--out", type=place, default="benchmarks", help="Folder.")
@device_option
@as_json_option
def bench(what: str, out: Path, device: str | None, as_json: bool, **options: Any) -> None:
    """Measure speed and memory, interleaved with named peers, and write a result file."""
    from alexnet.bench.all import measure
    from alexnet.bench.measure import table, write_results
    from alexnet.parallel.environment import describe_environment
    from alexnet.parallel.world import make_world

    world = make_world(device or "auto")
    if what == "scaling":
        from alexnet.planning.validation import bench_scaling

        wanted = {key: options[key] for key in ("variant", "batch_size", "steps", "rounds")}
        rows = bench_scaling(**wanted, world=world)
    else:
        rows = measure(what, world, **options)
    path = write_results(rows, what, describe_environment(world), out)
    if as_json:
        return click.echo(json.dumps(json.loads(path.read_text(encoding="utf-8"))["rows"]))
    return click.echo("\n".join([*table(rows), f"written to {path}"]))
