"""`alexnet plan`."""

import json
from typing import Any

import click

from alexnet.errors import UserError
from alexnet.verbs.group import verbs
from alexnet.verbs.options import as_json_option, device_option, layout_option


@verbs.command()
@click.option("--variant", default="paper", help="Which network.  [paper]")
@click.option("--batch-size", type=click.IntRange(min=1), default=128, help="Images.  [128]")
@click.option("--image-size", type=click.IntRange(min=1), help="Pixels.  [the variant's]")
@click.option("--classes", type=click.IntRange(min=1), default=1000, help="Outputs of fc8.")
@click.option(
    "--images", type=click.IntRange(min=1), default=1_281_167, help="In an epoch.  [ILSVRC-2012]"
)
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto")
@click.option("--no-measure", is_flag=True, help="Time from matrix products, not from a step.")
@click.option("--devices", type=click.IntRange(min=1), help="What up to so many would bring.")
@layout_option
@click.option("--machine", default="measured", help="With --devices: measured here, or a name.")
@click.option("--link", default="measured", help="With --devices: measured here, or a name.")
@click.option("--weak", is_flag=True, help="With --devices: the batch is that of each device.")
@device_option
@as_json_option
def plan(
    device: str | None,
    precision: str,
    devices: int | None,
    layout: str,
    machine: str,
    link: str,
    weak: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Say what training will need, before starting: memory, time, the largest batch that fits.

    With --devices: what several devices would bring, and what the published records would take.
    """
    from alexnet.parallel.world import make_world

    world = make_world(device or "auto", precision)
    if devices is not None:
        from alexnet.planning.scaling_report import plan_scaling, scaling_lines, scaling_to_json

        if options["image_size"] or options["no_measure"]:
            raise UserError(
                "--devices plans the variant's own image size; to measure nothing, name "
                "--machine and --link in place of --no-measure"
            )
        scaled = plan_scaling(
            world,
            options["variant"],
            options["classes"],
            options["batch_size"],
            devices,
            layout,
            machine,
            link,
            weak,
            options["images"],
        )
        text = json.dumps(scaling_to_json(scaled)) if as_json else "\n".join(scaling_lines(scaled))
        return click.echo(text)
    if layout != "auto" or (machine, link, weak) != ("measured", "measured", False):
        raise UserError(
            "--layout, --machine, --link and --weak plan several devices; add --devices N"
        )
    from alexnet.planning.plan import make_plan
    from alexnet.planning.report import plan_lines, plan_to_json

    made = make_plan(world, **options)
    if as_json:
        return click.echo(json.dumps(plan_to_json(made)))
    return click.echo("\n".join(plan_lines(made)))
