"""`alexnet reproduce`."""

import json
from pathlib import Path

import click

from alexnet.verbs.group import verbs
from alexnet.verbs.options import as_json_option, place


@verbs.command()
@click.argument("claim", default="list", metavar="[CLAIM|list|all]")
@click.option(
    "--scale",
    type=click.Choice(["smoke", "cpu", "gpu", "full"]),
    default="smoke",
    help="Seconds, hours on a few cores, hours on a GPU, or the paper's own.  [smoke]",
)
@click.option("--data", help="Images in place of the claim's own: as for train.")
@click.option("--out", type=place, default="claims", help="Folder.  [claims]")
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at once.  [one a GPU]")
@click.option("--seeds", type=click.IntRange(min=1), help="Of every arm.  [the scale's number]")
@as_json_option
def reproduce(
    claim: str,
    scale: str,
    data: str | None,
    out: Path,
    jobs: int | None,
    seeds: int | None,
    as_json: bool,
) -> None:
    """Put a CLAIM of the paper to the test: what it says, the authors' logs say, we measure.

    Every run is kept in OUT; the same command goes on after an interruption.
    """
    if claim == "list":
        from alexnet.claims.catalog import CLAIMS

        rows = [{"claim": c.name, "section": c.section, "paper": c.paper} for c in CLAIMS.values()]
        if as_json:
            return click.echo(json.dumps(rows))
        return click.echo("\n".join(f"{row['claim']:<20} {row['paper']}" for row in rows))
    from alexnet.claims.reproduce import reproduce as put_to_the_test
    from alexnet.claims.results import result_lines

    documents = put_to_the_test(claim, scale, out, data, jobs, seeds)
    if as_json:
        return click.echo(json.dumps(documents))
    return click.echo("\n\n".join("\n".join(result_lines(document)) for document in documents))
