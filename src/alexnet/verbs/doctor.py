"""`alexnet doctor`."""

import json

import click

from alexnet.verbs.group import verbs
from alexnet.verbs.options import as_json_option


@verbs.command()
@click.argument("what", required=False, metavar="[RUN|DATA]")
@as_json_option
def doctor(what: str | None, as_json: bool) -> None:
    """Say what is wrong with this installation, a data set or a run, and how to mend it."""
    from alexnet.doctor.run import examine

    diagnosis = examine(what)
    text = json.dumps(diagnosis.to_json()) if as_json else "\n".join(diagnosis.lines())
    return click.echo(text)
