"""`alexnet train`."""

import json
from pathlib import Path
from typing import Any

import click

from alexnet.commands import quoted_command
from alexnet.errors import UserError
from alexnet.verbs.group import verbs
from alexnet.verbs.options import (
    as_json_option,
    assignments_of,
    device_option,
    layout_option,
    place,
    views_option,
)
from alexnet.verbs.words import errors_in_words


@verbs.command()
@click.argument("data", required=False)
@click.option("--recipe", default=None, help="A named run; default: chosen for the data.")
@click.option("--out", type=place, help="Run directory.  [runs/NAME]")
@click.option("--resume", type=place, help="Continue this run.")
@click.option("--init", help="Begin with the weights of this run; its head goes by class name.")
@click.option("--freeze", multiple=True, metavar="LAYER", help="Keep a layer as it is.")
@click.option(
    "--layer-rate", multiple=True, metavar="LAYER=FACTOR", help="Rate of a layer, relative."
)
@click.option("--budget", metavar="30m", help="End in about this time: the schedule is planned.")
@click.option("--config", "config_file", type=place, help="A config.json.")
@click.option("--epochs", type=int, help="Passes over the training images.")
@click.option("--steps", type=int, help="End after so many updates.")
@click.option("--batch-size", type=int, help="Images in a batch.")
@click.option("--lr", type=float, help="Learning rate at the start.")
@click.option("--variant", help="Which network; `alexnet info` lists them.")
@click.option("--seed", type=int, help="Of weights, order, augmentation and dropout.")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="Of products.")
@click.option("--devices", type=click.IntRange(min=1), help="Processes to start, one a device.")
@layout_option
@click.option("--set", "changes", multiple=True, metavar="SECTION.KEY=VALUE", help="Any setting.")
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration and stop.")
@views_option
@device_option
@as_json_option
def train(
    data: str | None,
    recipe: str | None,
    out: Path | None,
    resume: Path | None,
    config_file: Path | None,
    init: str | None,
    freeze: tuple[str, ...],
    layer_rate: tuple[str, ...],
    budget: str | None,
    changes: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    devices: int | None,
    layout: str,
    **named: Any,
) -> None:
    """Train a network on DATA: a folder of class folders, a prepared set, `digits` or `cifar10`.

    DATA may also be the ILSVRC-2010 or -2012 archives as they come, a Kaggle tree, Parquet files or
    a CSV list; many images are better prepared once (`alexnet prepare`). Without DATA the embedded
    handwritten digits are used. The run directory holds the weights, the checkpoints, the metrics
    and report.html.
    """
    assignments = [*assignments_of(named), *changes]
    if resume is not None:
        others = (data, recipe, out, config_file, init, budget)
        if any(other is not None for other in others) or assignments or freeze or layer_rate:
            raise UserError(
                "--resume continues a run with its own configuration; to change something, start "
                f"a new run with {quoted_command('train', '--config', resume / 'config.json')}"
            )
        if dry_run:
            from alexnet.config import read_config

            return click.echo(read_config(resume / "config.json").to_json(), nl=False)
        return _train_run(resume, devices, layout, as_json)
    from alexnet.model.catalog import resolve
    from alexnet.parallel.layouts import check_placeable
    from alexnet.training.choices import resolve_config
    from alexnet.training.directory import create_run, gone_unless_begun
    from alexnet.training.finetune import with_layer_rates
    from alexnet.training.run import train as train_run

    if recipe and config_file:
        raise UserError("--recipe and --config both say what to run; give one of them")
    config = with_layer_rates(
        resolve_config(data, recipe, assignments, config_file, init), freeze, layer_rate
    )
    if budget is not None:
        from alexnet.parallel.world import may_be_restarted
        from alexnet.tuning.budget import fit_to_budget, read_duration

        if may_be_restarted():
            raise UserError(
                "--budget would be measured anew at each restart; use --devices in place of "
                "torchrun, or --max-restarts 0"
            )
        config = fit_to_budget(config, read_duration(budget), assignments, devices or 1)
    if dry_run:
        return click.echo(config.to_json(), nl=False)
    if devices and devices > 1:
        check_placeable(layout, resolve(config.model), devices)
        run = create_run(config, out)
        with gone_unless_begun(run):
            return _train_run(run, devices, layout, as_json)
    return _show_run(train_run(config=config, out=out, layout=layout), as_json)


def _train_run(run: Path, devices: int | None, layout: str, as_json: bool) -> None:
    """Train a run that exists, here or in processes of their own."""
    if devices and devices > 1:
        from alexnet.parallel.launch import launch
        from alexnet.parallel.world import find_device
        from alexnet.training.directory import config_of

        find_device(config_of(run).train.device)  # a mistake is said here, not by each process
        options = ["--layout", layout, *(["--json"] if as_json else [])]
        return launch(["train", "--resume", str(run), *options], devices)
    from alexnet.training.run import resume

    return _show_run(resume(run, layout=layout), as_json)


def _show_run(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        return click.echo(json.dumps(result))
    from alexnet.files import read_json
    from alexnet.parallel.world import started_rank

    if started_rank():  # the first process speaks, and has the run directory
        return None
    run = Path(result["run"])
    click.echo(errors_in_words(result, classes=len(read_json(run / "data.json")["classes"])))
    click.echo(
        f"  {result['steps']} steps, {result['images_per_second']:.0f} images/s, "
        f"{result['data_wait_fraction']:.1%} of the time waiting for data"
    )
    click.echo(f"  report   {run / 'report.html'}")
    return click.echo(f"  weights  {run / 'weights.safetensors'}")
