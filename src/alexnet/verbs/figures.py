"""`alexnet figures`."""

import json
from pathlib import Path

import click

from alexnet.verbs.group import verbs
from alexnet.verbs.options import as_json_option, device_option, place


@verbs.command()
@click.argument("run_directory", metavar="RUN", type=place)
@click.option("--data", help="Images to show; default: those of the run.")
@click.option("--out", required=True, type=place, help="Folder to write into.")
@click.option("--images", type=click.IntRange(min=1), default=8, help="How many to show.  [8]")
@click.option(
    "--picture",
    type=place,
    help="Show the activations of this file.  [a validation image]",
)
@click.option(
    "--stage", "stages", multiple=True, help="Whose activations: conv1 … pool5.  [the ReLUs]"
)
@device_option
@as_json_option
def figures(
    run_directory: Path,
    data: str | None,
    out: Path,
    images: int,
    picture: Path | None,
    stages: tuple[str, ...],
    device: str | None,
    as_json: bool,
) -> None:
    """Draw what RUN has learned: kernels, predictions, neighbours, evidence, activations."""
    from alexnet.figures.draw import draw

    result = draw(run_directory, out, data, images, device or "auto", picture, stages)
    if as_json:
        return click.echo(json.dumps(result))
    return click.echo(f"{len(result['figures'])} figures; page {result['page']}")
