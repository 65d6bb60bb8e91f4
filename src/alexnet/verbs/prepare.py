"""`alexnet prepare`."""

import json
from pathlib import Path
from typing import Any

import click

from alexnet.commands import quoted_command
from alexnet.verbs.group import verbs
from alexnet.verbs.options import as_json_option, place


@verbs.command()
@click.argument("source")
@click.argument("out", type=place)
@click.option(
    "--kind",
    type=click.Choice(["auto", "folder", "ilsvrc2010", "ilsvrc2012", "cifar10", "parquet", "csv"]),
    default="auto",
    help="What SOURCE is, where its looks mislead.",
)
@click.option("--size", type=int, default=256, help="Side of the stored squares.  [256]")
@click.option("--quality", type=int, default=95, help="Of the stored JPEG.  [95]")
@click.option("--encoding", type=click.Choice(["jpeg", "raw"]), default="jpeg", help="As stored.")
@click.option("--workers", type=int, help="Processes.  [one a core]")
@click.option("--strict", is_flag=True, help="Stop at the first image that cannot be used.")
@click.option(
    "--no-checksums", is_flag=True, help="Do not compare archives with the official sums."
)
@as_json_option
def prepare(source: str, out: Path, no_checksums: bool, as_json: bool, **options: Any) -> None:
    """Decode SOURCE once into a set that opens at once: OUT, Arrow files of small squares.

    SOURCE is a folder, the ILSVRC-2010 or -2012 archives as they come, a Kaggle tree, Parquet
    files, CIFAR-10 or a CSV list. Interrupted work goes on where it was with the same command.
    """
    from alexnet.data.prepare import prepare as make

    result = make(source, out, checksums=not no_checksums, **options)
    if as_json:
        return click.echo(json.dumps(result))
    return click.echo(
        f"{result['images']} images of {result['classes']} classes in {result['out']}, "
        f"{len(result['skipped'])} skipped; train with: {quoted_command('train', result['out'])}"
    )
