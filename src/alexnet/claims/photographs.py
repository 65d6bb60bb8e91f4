"""The paper's network on photographs, at any scale: the reference that ablations change.

At the scales below `full` the photographs are few, so the net is trained as the recipe `default`
trains: a rate that warms up and falls in a straight line. At `full` it is the recipe `paper`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from alexnet.claims.claim import Claim, Finding, Measured, Quantity, Run, Setting, seeded, values_of
from alexnet.claims.intervals import difference_of, mean_of, verdict_on
from alexnet.claims.measures import last_errors
from alexnet.config import (
    AugmentConfig,
    Config,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
    override,
)
from alexnet.recipes import DataFacts, paper

REFERENCE = "reference"
Pair = tuple[float | None, float | None]


def reference(setting: Setting) -> Config:
    """The configuration of the reference at a scale, with seed 0."""
    scale = setting.scale.photographs
    data = DataConfig(source=setting.data, size=scale.stored_size)
    if setting.scale.name == "full":
        published = paper(DataFacts(images=1_281_167, classes=1000, mirror=True))
        return replace(published, data=data, evaluation=EvaluationConfig(views=1))
    return Config(
        recipe=f"claims-{setting.scale.name}",
        model=ModelConfig(width=scale.width, image_size=scale.image_size),
        data=data,
        augment=AugmentConfig(color="paper"),
        optimizer=OptimizerConfig(lr=scale.lr),
        schedule=ScheduleConfig(kind="polynomial", warmup_epochs=1.0),
        train=TrainConfig(
            epochs=scale.epochs,
            steps=scale.steps,
            batch_size=scale.batch_size,
            # Small experiments run on any processor and must not depend on which it is.
            precision="fp32" if scale.width < 1.0 else "auto",
            alarm=scale.steps is None,
        ),
    )


def reference_run(setting: Setting) -> Run:
    """The reference, measured by its errors after the last epoch."""
    return Run(REFERENCE, 0, reference(setting), last_errors)


def seeds(setting: Setting) -> range:
    """The seeds of every arm."""
    return range(setting.scale.seeds)


def ablation(
    name: str,
    section: str,
    paper: str,
    logs: str,
    expected: str,
    arms: dict[str, Sequence[str]],
    published: dict[str, Pair] | None = None,
    logged: dict[str, Pair] | None = None,
    also: Callable[[Setting, Measured], Finding] | None = None,
) -> Claim:
    """A claim that the reference is better than versions of it in which something is changed.

    Args:
        name, section, paper, logs: as `Claim` has them.
        expected: what the paper expects, in a few words, for the verdict on the first arm.
        arms: name of each version to the `section.key=value` assignments that make it.
        published, logged: by how many points top-1 and top-5 error are worse.
        also: further quantities and notes of the claim.
    """

    def plan(setting: Setting, measured: Measured) -> Sequence[Run]:
        base = reference_run(setting)
        changed = [
            replace(base, arm=arm, config=override(base.config, assignments))
            for arm, assignments in arms.items()
        ]
        return seeded([base, *changed], seeds(setting))

    def find(setting: Setting, measured: Measured) -> Finding:
        quantities = [*_errors(measured, REFERENCE)]
        verdicts = []
        for arm in arms:
            worse = _worse(measured, arm, (published or {}).get(arm), (logged or {}).get(arm))
            quantities += [*_errors(measured, arm), *worse]
            verdicts.append(verdict_on(worse[0], expected if len(arms) == 1 else f"{arm}"))
        more = also(setting, measured) if also else Finding((), "")
        words = "; ".join(verdicts) if len(arms) == 1 else f"{expected}. " + "; ".join(verdicts)
        return Finding([*quantities, *more.quantities], words, [*_notes(setting), *more.notes])

    return Claim(name, section, paper, logs, "photographs", plan, find)


def _errors(measured: Measured, arm: str) -> list[Quantity]:
    return [
        mean_of(f"top-{k} error, {arm}", "%", values_of(measured, arm, f"top{k}_error"))
        for k in (1, 5)
    ]


def _worse(
    measured: Measured, arm: str, published: Pair | None, logged: Pair | None
) -> list[Quantity]:
    return [
        difference_of(
            f"top-{k} error, {arm} minus {REFERENCE}",
            "points",
            values_of(measured, arm, f"top{k}_error"),
            values_of(measured, REFERENCE, f"top{k}_error"),
            published[place] if published else None,
            logged[place] if logged else None,
        )
        for place, k in enumerate((1, 5))
    ]


def _notes(setting: Setting) -> list[str]:
    scale = setting.scale.photographs
    if setting.scale.name == "full":
        return ["errors after the last epoch, centre patch; the paper's differences: ten patches"]
    return [
        f"the whole network at {scale.width:g} of its width on {scale.image_size} pixels, "
        f"{scale.epochs} epochs; errors after the last epoch, centre patch, all images of the "
        "validation split; the paper's numbers are for 1000 classes and 1.2 million images"
    ]
