"""Section 4.1: random crops and reflections, and colour noise."""

from alexnet.claims.photographs import ablation

CLAIM = ablation(
    name="augmentation",
    section="4.1",
    paper="without crops and reflections the net overfits substantially; colour noise lowers top-1 "
    "error by over 1",
    logs="nothing isolates either",
    expected="without augmentation it is worse",
    arms={
        "no-crops-no-mirrors": ("augment.crop=center", "augment.mirror=false"),
        "no-color-noise": ("augment.color=none",),
        "no-augmentation": ("augment.crop=center", "augment.mirror=false", "augment.color=none"),
    },
    published={"no-color-noise": (1.0, None)},
)
