"""`alexnet plan --devices N`: predictions in words and as JSON, beside the published records."""

from dataclasses import asdict, dataclass
from typing import Any

from alexnet.errors import UserError
from alexnet.model.catalog import imagenet_variant
from alexnet.model.variants import Variant
from alexnet.parallel.layouts import check_layout
from alexnet.parallel.world import World
from alexnet.planning.scaling import (
    ILSVRC2012_IMAGES,
    MACHINES,
    RECORDS,
    WIRES,
    Machine,
    Prediction,
    Wire,
    Work,
    scaling,
    to_pass,
)
from alexnet.suggest import unknown

_EPOCHS = 90


@dataclass(frozen=True)
class ScalingPlan:
    """Predictions for growing numbers of devices.

    Attributes:
        machine, wire: what the predictions rest on.
        sources: where these come from, in words.
        work: what is trained.
        layout: that was asked for.
        rows: one prediction for each number of devices.
        images: of an epoch.
    """

    machine: Machine
    wire: Wire
    sources: tuple[str, str]
    work: Work
    layout: str
    rows: list[Prediction]
    images: int = ILSVRC2012_IMAGES


def plan_scaling(
    world: World,
    variant: str,
    num_classes: int,
    batch_size: int,
    devices: int,
    layout: str = "auto",
    machine: str = "measured",
    link: str = "measured",
    weak: bool = False,
    images: int = ILSVRC2012_IMAGES,
) -> ScalingPlan:
    """Predict the steps of 1, 2, 4, … devices.

    Args:
        world: the device that is measured, and the precision.
        variant, num_classes: the network.
        batch_size: images in a step of all devices; of each device if `weak`.
        devices: how many at most.
        layout: auto, data, columns or hybrid.
        machine, link: measured, or a name in `scaling.MACHINES` and `scaling.WIRES`.
        weak: the batch grows with the number of devices.
        images: of an epoch.

    Raises:
        UserError: unknown names, or a layout that does not fit the variant.
    """
    chosen = imagenet_variant(variant)
    if layout != "auto":
        check_layout(layout, chosen, devices)
    for kind, name, known in (("machine", machine, MACHINES), ("link", link, WIRES)):
        if name != "measured" and name not in known:
            raise UserError(unknown(kind, name, ["measured", *known]))
    rate, source = _machine(machine, chosen, num_classes, world)
    wire, wire_source = _wire(link, world)
    activation_bytes = 2 if world.precision == "bf16" else 4
    work = Work(chosen, num_classes, batch_size, activation_bytes)
    rows = scaling(rate, wire, work, layout, devices, weak)
    return ScalingPlan(rate, wire, (source, wire_source), work, layout, rows, images)


def scaling_lines(plan: ScalingPlan) -> list[str]:
    """The plan as a table, and what the records would take."""
    alone = plan.rows[0].images_per_second
    lines = [
        f"computation: {plan.sources[0]}; traffic: {plan.sources[1]}",
        "devices  layout      batch   step      images/s  speed-up  efficiency  exchanged/step"
        f"  {_EPOCHS} epochs of {plan.images:,}",
    ]
    for row in plan.rows:
        speedup = row.images_per_second / alone
        lines.append(
            f"{row.processes:7d}  {row.layout:8s} {row.batch_size:8d}  {_time(row.seconds):>8s}"
            f"  {row.images_per_second:10,.0f}  {speedup:8.2f}  {speedup / row.processes:9.0%}"
            f"  {row.sent_bytes / 1e6:11,.1f} MB"
            f"  {_duration(_EPOCHS * plan.images / row.images_per_second)}"
        )
    return [*lines, "", *_record_lines(plan)]


def scaling_to_json(plan: ScalingPlan) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "machine": asdict(plan.machine) | {"source": plan.sources[0]},
        "link": asdict(plan.wire) | {"source": plan.sources[1]},
        "layout": plan.layout,
        "images": plan.images,
        "rows": [
            asdict(row) | {"seconds": row.seconds, "images_per_second": row.images_per_second}
            for row in plan.rows
        ],
        "records": [
            asdict(record)
            | {
                "images_per_second": record.images_per_second,
                "needed_per_device": to_pass(
                    record, plan.wire, plan.work, plan.layout, plan.rows[-1].processes
                ),
            }
            for record in RECORDS
        ],
    }


def _record_lines(plan: ScalingPlan) -> list[str]:
    count = plan.rows[-1].processes
    lines = [f"published, and what each of {count} devices would have to compute alone to pass it:"]
    for record in RECORDS:
        needed = to_pass(record, plan.wire, plan.work, plan.layout, count)
        say = f"{needed:,.0f} images/s" if needed else "not over this link"
        lines.append(
            f"  {record.who}: {record.epochs} epochs in {record.minutes:g} min on {record.count} "
            f"{record.devices}, {record.images_per_second:,.0f} images/s: {say}"
        )
    return lines


def _machine(name: str, variant: Variant, num_classes: int, world: World) -> tuple[Machine, str]:
    if name != "measured":
        machine = MACHINES[name]
        return machine, f"{name}, {1 / machine.image_seconds:,.0f} images/s (not measured here)"
    from alexnet.planning.calibration import measure_machine

    machine = measure_machine(variant, num_classes, world)
    speed = f"{1 / machine.image_seconds:,.1f} images/s"
    return machine, f"measured here, {speed} {'on all cores' if machine.cores else 'on one device'}"


def _wire(name: str, world: World) -> tuple[Wire, str]:
    if name != "measured":
        return WIRES[name], f"{name}, {WIRES[name].sum / 1e9:g} GB/s (line rate)"
    from alexnet.planning.calibration import measure_wire

    wire = measure_wire(world.device.type)
    return wire, (
        f"measured between two processes, {wire.exchange / 1e9:.2f} GB/s exchanged, "
        f"{wire.sum / 1e9:.2f} GB/s summed, latency {wire.latency * 1e6:.0f} us"
    )


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _duration(seconds: float) -> str:
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
