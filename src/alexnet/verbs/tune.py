"""`alexnet tune`."""

import json
from pathlib import Path
from typing import Any

import click

from alexnet.errors import UserError
from alexnet.verbs.group import verbs
from alexnet.verbs.options import as_json_option, assignments_of, device_option, place


@verbs.command()
@click.argument("data", required=False)
@click.option("--out", type=place, help="Folder of the study.")
@click.option("--trials", type=click.IntRange(min=2), help="Points to try.  [30]")
@click.option("--budget", metavar="2h", help="End in about this time, instead of --trials.")
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, help="Processes; they share the cores.  [1]"
)
@click.option(
    "--storage",
    default="auto",
    help="auto, folder, journal, or a URL of Optuna's, such as postgresql://HOST/NAME.",
)
@click.option("--full", is_flag=True, help="Train every trial to the end; for comparison.")
@click.option("--range", "range_only", is_flag=True, help="Rate range test only.")
@click.option("--init", help="Fine-tune this run in every trial.")
@click.option("--recipe", default=None, help="What to search around; default: for the data.")
@click.option("--epochs", type=int, help="Of a whole training.")
@click.option("--batch-size", type=int, help="Images in a batch.")
@click.option("--lr", type=float, help="The rate to search around.")
@click.option("--variant", help="Which network.")
@click.option("--seed", type=int, help="Of the search and of every training.")
@click.option("--set", "changes", multiple=True, metavar="SECTION.KEY=VALUE", help="Any setting.")
@device_option
@as_json_option
def tune(
    data: str | None,
    out: Path | None,
    trials: int | None,
    budget: str | None,
    workers: int,
    storage: str,
    full: bool,
    range_only: bool,
    init: str | None,
    recipe: str | None,
    changes: tuple[str, ...],
    as_json: bool,
    **named: Any,
) -> None:
    """Search for the best settings on DATA: many short trainings, the best of them longer.

    The study lives in --out. The same command again goes on with it, also at the same time from
    other processes, devices or hosts that see the folder; nothing is lost when any of them is
    killed, and no trial is trained twice. With --range, only the rate is looked for, in a minute.

    The storage keeps what is known of the trials; a database (extra `postgresql`) suits many hosts.
    Its password belongs in ~/.pgpass: the URL is written into the study.
    """
    from alexnet.tuning.search import find_range, search

    assignments = [*assignments_of(named), *changes]
    if range_only:
        if trials or budget or full or workers > 1 or storage != "auto":
            raise UserError(
                "--range finds one rate: leave out --trials, --budget, --workers, --storage, --full"
            )
        result = find_range(data, recipe, assignments, init, out)
    else:
        result = search(
            data, recipe, assignments, init, out, trials, budget, workers, storage, full
        )
    if as_json:
        return click.echo(json.dumps(result))
    return click.echo("\n".join(result["lines"]))
