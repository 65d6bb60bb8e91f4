"""`alexnet eval`."""

import json

import click

from alexnet.errors import UserError
from alexnet.verbs.group import verbs
from alexnet.verbs.options import as_json_option, device_option, views_option
from alexnet.verbs.words import errors_in_words


@verbs.command(name="eval")
@click.argument("runs", nargs=-1)
@click.argument("data")
@click.option(
    "--split",
    type=click.Choice(["val", "train", "test", "all"]),
    default="val",
    help="Which images; `all` of a folder without splits.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=128, help="Images at a time.")
@views_option
@device_option
@as_json_option
def evaluate(
    runs: tuple[str, ...],
    data: str,
    split: str,
    batch_size: int,
    views: str | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Measure the error rates of RUNS on DATA; several runs: their probabilities averaged."""
    if not runs:
        raise UserError(f"give runs and then the images to measure them on, not {data} alone")
    from alexnet.evaluation.evaluate import evaluate as measure
    from alexnet.evaluation.tables import per_class_lines

    measured = measure(runs, data, split, int(views or 1), device or "auto", batch_size)
    document = {**measured.to_json(), "split": split, "runs": list(runs)}
    if as_json:
        return click.echo(json.dumps(document))
    click.echo(errors_in_words(document, len(measured.classes)))
    return click.echo("\n".join(per_class_lines(measured)))
