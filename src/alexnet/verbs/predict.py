"""`alexnet predict`."""

import json

import click

from alexnet.verbs.group import verbs
from alexnet.verbs.options import as_json_option, device_option, views_option


@verbs.command()
@click.argument("run_directory", metavar="RUN")
@click.argument("paths", nargs=-1, required=True, metavar="IMAGE|FOLDER...")
@click.option("--top", type=click.IntRange(min=1), default=5, help="How many classes to name.")
@views_option
@device_option
@as_json_option
def predict(
    run_directory: str,
    paths: tuple[str, ...],
    top: int,
    views: str | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Say what is in images, with the network of RUN.

    Bad or missing ones are named, not fatal, unless nothing is there at any of the paths.
    """
    from alexnet.data.sources import as_text
    from alexnet.evaluation.predict import Predictor

    predictor = Predictor(run_directory, device or "auto")
    predictions = predictor(list(paths), top, int(views or 1))
    if as_json:
        return click.echo(json.dumps([entry.to_json() for entry in predictions]))
    for entry in predictions:
        named = ", ".join(f"{name} {value:.1%}" for name, value in entry.classes)
        click.echo(f"{as_text(entry.path)}: {entry.error or named}")
    return None
