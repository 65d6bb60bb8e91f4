"""`alexnet bench`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from alexnet.errors import UserError
from alexnet.verbs.group import verbs
from alexnet.verbs.options import as_json_option, device_option, place

# By what is measured: the options that say nothing about it.
_UNUSED = {
    "train": ("images", "count", "only"),
    "infer": ("images", "count", "only"),
    "data": ("variant", "batch_size", "steps"),
    "scaling": ("images", "count", "only", "peers"),
    "all": (),
}


@verbs.command()
@click.argument(
    "what", type=click.Choice(["train", "infer", "data", "scaling", "all"]), default="all"
)
@click.option("--variant", help="Which network.  [paper]")
@click.option("--images", type=place, help="Pictures; default: made here.")
@click.option("--peers", is_flag=True, help="Measure what others offer in the same rounds.")
@click.option("--count", type=click.IntRange(min=8), help="How many pictures.  [1024]")
@click.option("--batch-size", type=click.IntRange(min=1), help="Of steps.  [64; GPU: 1024]")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="In a round; of single images 4 times as many.  "
    "[as many as take 1 s, 3 at least; scaling: 2]",
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
    from alexnet.bench.measure import Row, check_place, table, write_results
    from alexnet.model.catalog import imagenet_variant
    from alexnet.parallel.environment import describe_environment
    from alexnet.parallel.world import make_world

    if unused := [name for name in _UNUSED[what] if options[name]]:
        given = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        raise UserError(f"`bench {what}` does not depend on {given}; leave it out")
    options |= {"variant": options["variant"] or "paper", "count": options["count"] or 1024}
    imagenet_variant(options["variant"])  # an error comes before the work
    check_place(out)
    world = make_world(device or "auto")
    measured: Iterable[Row]
    if what == "scaling":
        from alexnet.planning.validation import bench_scaling

        wanted = {key: options[key] for key in ("variant", "batch_size", "steps", "rounds")}
        measured = bench_scaling(**wanted, world=world)
    else:
        measured = measure(what, world, **options)
    rows: list[Row] = []
    try:
        for row in measured:
            rows.append(row)  # noqa: PERF402 (what is there is kept when a later one fails)
    finally:
        if rows:
            path = write_results(rows, what, describe_environment(world), out)
            if as_json:
                document = json.loads(path.read_text(encoding="utf-8"))
                click.echo(json.dumps(document["rows"]))
            else:
                click.echo("\n".join([*table(rows), f"written to {path}"]))
