"""The paper's network on photographs, at any scale: the reference that ablations change.

At the scales below `full` the photographs are few, so the net is trained as the recipe `default`
trains: a rate that warms up and falls in a straight line. At `full` it is the recipe `paper`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from alexnet.claims.claim import Claim, Finding, Measured, Quantity, Run, Setting, seeded, values_of
from alexnet.claims.intervals import difference_of, mean_of, noise_of, verdict_on
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
from alexnet.defaults import DataFacts
from alexnet.recipes import paper

REFERENCE = "reference"
Pair = tuple[float | None, float | None]  # of top-1 and top-5 error
_NONE: Pair = (None, None)


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
    published: Mapping[str, Pair] = MappingProxyType({}),
    logged: Mapping[str, Pair] = MappingProxyType({}),
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
        errors = [_Errors.of(measured, k, [REFERENCE, *arms]) for k in (1, 5)]
        quantities = [of_k.mean(REFERENCE) for of_k in errors]
        verdicts = []
        for arm in arms:
            theirs = zip(published.get(arm, _NONE), logged.get(arm, _NONE), strict=True)
            worse = [of_k.worse(arm, *pair) for of_k, pair in zip(errors, theirs, strict=True)]
            quantities += [*(of_k.mean(arm) for of_k in errors), *worse]
            verdicts.append(verdict_on(worse[0], expected if len(arms) == 1 else arm))
        more = also(setting, measured) if also else Finding((), "")
        words = "; ".join(verdicts) if len(arms) == 1 else f"{expected}? " + "; ".join(verdicts)
        return Finding([*quantities, *more.quantities], words, [*_notes(setting), *more.notes])

    return Claim(name, section, paper, logs, "photographs", plan, find)


@dataclass(frozen=True)
class _Errors:
    """Top-k errors of the arms of a claim. They are versions of one network and share one noise."""

    k: int
    of_arm: dict[str, list[float]]  # one value a seed, percent

    @classmethod
    def of(cls, measured: Measured, k: int, arms: Sequence[str]) -> "_Errors":
        return cls(k, {arm: values_of(measured, arm, f"top{k}_error") for arm in arms})

    def mean(self, arm: str) -> Quantity:
        noise = noise_of(self.of_arm.values())
        return mean_of(f"top-{self.k} error, {arm}", "%", self.of_arm[arm], noise=noise)

    def worse(self, arm: str, paper: float | None, logs: float | None) -> Quantity:
        return difference_of(
            f"top-{self.k} error, {arm} minus {REFERENCE}",
            "points",
            self.of_arm[arm],
            self.of_arm[REFERENCE],
            paper,
            logs,
            noise_of(self.of_arm.values()),
        )


def network_in_words(setting: Setting) -> list[str]:
    """What a reader must know of the network at a scale; of the paper's nothing."""
    scale = setting.scale.photographs
    if setting.scale.name == "full":
        return []
    return [
        f"the whole network at {scale.width:g} of its width on {scale.image_size} pixels, "
        f"{scale.epochs} epochs; the paper's numbers are for 1000 classes and 1.2 million images"
    ]


def _notes(setting: Setting) -> list[str]:
    centre = "errors after the last epoch, centre patch, all images of the validation split"
    full = "; the paper's differences: ten patches" if setting.scale.name == "full" else ""
    return [*network_in_words(setting), centre + full]
