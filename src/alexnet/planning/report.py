"""A plan as a table for people and as JSON for machines."""

from typing import Any

from alexnet.planning.plan import Plan
from alexnet.progress import duration


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Bytes, seconds and images; `kept` is bytes for each image."""
    memory = plan.memory
    return {
        "variant": plan.variant.name,
        "device": plan.world.device.type,
        "precision": plan.world.precision,
        "batch_size": plan.batch_size,
        "image_size": plan.variant.image_size,
        "classes": plan.num_classes,
        "parameters": plan.parameters,
        "memory": {
            "weights": memory.weights,
            "cast_weights": memory.cast_weights,
            "gradients": memory.gradients,
            "optimizer": memory.optimizer,
            "activations": memory.activations,
            "workspace": memory.workspace,
            "total": memory.total,
            "available": plan.available,
            "pixels": plan.pixels,
        },
        "stages": [
            {"name": stage.name, "output": [*stage.output, 1, 1][:3], "kept": round(stage.kept)}
            for stage in memory.stages
        ],
        "largest_batch_size": plan.largest_batch,
        "time": {
            "source": plan.time.source,
            "seconds_per_step": plan.time.seconds,
            "images_per_second": plan.batch_size / plan.time.seconds,
            "images_per_epoch": plan.images,
            "steps_per_epoch": plan.steps_per_epoch,
            "seconds_per_epoch": plan.seconds_per_epoch,
        },
    }


def plan_lines(plan: Plan) -> list[str]:
    """The plan for people."""
    memory, time = plan.memory, plan.time
    lines = [
        f"{plan.variant.name}, batches of {plan.batch_size}, {plan.variant.image_size} pixels, "
        f"{plan.num_classes} classes, {plan.world.device.type} in {plan.world.precision}",
        "",
        f"{'stage':<12}{'output':>16}{'kept for the backward pass':>30}",
    ]
    for stage in memory.stages:
        if stage.kept:
            shape = " x ".join(map(str, stage.output))
            lines.append(f"{stage.name:<12}{shape:>16}{_size(stage.kept * plan.batch_size):>30}")
    parts = {
        f"weights ({plan.parameters:,})": memory.weights,
        "weights in bfloat16": memory.cast_weights,
        "gradients": memory.gradients,
        "optimiser": memory.optimizer,
        "activations": memory.activations,
        "workspace (estimate)": memory.workspace,
        "peak of a step": memory.total,
    }
    lines += ["", *(f"{name:<40}{_size(size):>18}" for name, size in parts.items() if size)]
    beside = ", beside the pixels" if plan.pixels else ""
    fits = (
        f"the largest batch that fits into 90 % of it{beside}: {plan.largest_batch}"
        if plan.largest_batch
        else "not even one image fits"
    )
    return [
        *lines,
        f"{'free now':<40}{_size(plan.available):>18}",
        *([f"{'pixels of an epoch':<40}{_size(plan.pixels):>18}"] if plan.pixels else []),
        fits,
        "",
        f"a step: {time.seconds:.3g} s, {plan.batch_size / time.seconds:,.0f} images/s "
        f"({time.source})",
        f"an epoch of {plan.images:,} images: {plan.steps_per_epoch:,} steps, "
        f"{duration(plan.seconds_per_epoch)}, if the images keep up",
    ]


def _size(count: float) -> str:
    return f"{count / 2**20:,.0f} MiB"
