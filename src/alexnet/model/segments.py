"""Which stages of a variant run as one operation, and what that operation is."""

from functools import cache

from alexnet.model.variants import Variant
from alexnet.ops.parts import Stage

_PARTS = ("relu", "norm", "pool")  # what `alexnet.ops.Stage` does, in its order


def segments(variant: Variant) -> tuple[tuple[str, ...], ...]:
    """The stages in order, those that follow each other as `Stage` has them taken together."""
    grouped: list[list[str]] = []
    for name in variant.order:
        before = _part(variant, grouped[-1][-1]) if grouped else None
        part = _part(variant, name)
        if part is not None and before is not None and part > before:
            grouped[-1].append(name)
        else:
            grouped.append([name])
    return tuple(tuple(names) for names in grouped)


@cache
def fused_stage(variant: Variant, names: tuple[str, ...]) -> Stage | None:
    """One operation for these stages, or None where they are one that runs by itself."""
    if len(names) == 1:
        return None
    constants = variant.normalization
    parts = {_PARTS[part] for name in names if (part := _part(variant, name)) is not None}
    return Stage(
        relu="relu" in parts,
        size=constants.size if "norm" in parts else 0,
        alpha=constants.alpha / constants.size if constants.divide_alpha else constants.alpha,
        beta=constants.beta,
        k=constants.k,
        columns=variant.columns if constants.inside_column else 1,
        window=variant.pooling_window if "pool" in parts else 0,
        stride=variant.pooling_stride,
        ceil_mode=variant.pooling_overhang,
    )


def _part(variant: Variant, name: str) -> int | None:
    """Place of a stage in `Stage`; None for one that is no part of it."""
    kind = name.rstrip("0123456789")
    if kind not in _PARTS or (kind == "relu" and variant.activation != "relu"):
        return None
    return _PARTS.index(kind)
