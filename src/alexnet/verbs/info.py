"""`alexnet info`."""

import json
from dataclasses import asdict

import click

from alexnet.errors import UserError
from alexnet.files import at_home
from alexnet.verbs.group import verbs
from alexnet.verbs.options import as_json_option


@verbs.command()
@click.argument("what", required=False, metavar="[VARIANT|RUN|PREPARED]")
@click.option("--diff", metavar="VARIANT", help="What differs from this variant.")
@click.option("--classes", type=click.IntRange(min=1), help="Outputs.  [1000; CIFAR-10 nets: 10]")
@click.option("--verify", is_flag=True, help="Compare a prepared set with its checksums.")
@as_json_option
def info(
    what: str | None, diff: str | None, classes: int | None, verify: bool, as_json: bool
) -> None:
    """Show the layers of a variant or run: shapes, parameters, multiply-adds; or a prepared set."""
    from alexnet.data.prepared import describe_prepared, holds_prepared
    from alexnet.model.describe import describe, difference, difference_lines, layer_lines

    if what is not None and holds_prepared(at_home(what)):
        if diff is not None:
            raise UserError(f"--diff compares variants and runs; {what} is a prepared set")
        if classes is not None:
            raise UserError(f"--classes is for variants; {what} is a prepared set")
        from alexnet.data.prepared import verify as check
        from alexnet.progress import say

        if verify:
            check(at_home(what))
            say(f"every file of {what} has its checksum")
        prepared = describe_prepared(at_home(what))
        text = json.dumps(prepared.to_json()) if as_json else "\n".join(prepared.lines())
        return click.echo(text)
    if verify:
        raise UserError(f"--verify wants a prepared set, not {what or 'a variant'}")
    description = describe("paper" if what is None else what, classes)
    if diff is not None:
        other = describe(diff, classes)
        if as_json:
            return click.echo(json.dumps(difference(description, other), default=asdict))
        return click.echo("\n".join(difference_lines(description, other)))
    if as_json:
        return click.echo(json.dumps(description.to_json()))
    return click.echo("\n".join(layer_lines(description, list_variants=what is None)))
