"""Which stages of a network run as one operation, and what that operation is."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from alexnet.model.normalization import LocalResponseNorm
from alexnet.model.variants import Variant
from alexnet.ops.parts import Stage

_NAMES = ("relu", "norm", "pool")  # what `alexnet.ops.Stage` does, in its order
_MODULES = (nn.ReLU, LocalResponseNorm, nn.MaxPool2d)


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


def fused_stage(modules: Sequence[nn.Module]) -> Stage | None:
    """One operation for these stages, or None where they run by themselves.

    They are asked themselves, not the variant: a user may have put other modules in their places.
    """
    kinds = [type(module) for module in modules]
    if len(kinds) == 1 or not all(kind in _MODULES for kind in kinds):
        return None
    if any(_MODULES.index(a) >= _MODULES.index(b) for a, b in pairwise(kinds)):
        return None
    parts: dict[str, float] = {"relu": nn.ReLU in kinds}
    for module in modules:
        if isinstance(module, LocalResponseNorm):
            parts |= _normalization(module)
        if isinstance(module, nn.MaxPool2d):
            if (pooling := _pooling(module)) is None:
                return None
            parts |= pooling
    return Stage(**parts)  # type: ignore[arg-type]


def _normalization(module: LocalResponseNorm) -> dict[str, float]:
    c = module.constants
    alpha = c.alpha / c.size if c.divide_alpha else c.alpha
    return {"size": c.size, "alpha": alpha, "beta": c.beta, "k": c.k, "columns": module.columns}


def _pooling(module: nn.MaxPool2d) -> dict[str, float] | None:
    """Its constants; None where its windows are no squares, or have padding or gaps."""
    window, stride = module.kernel_size, module.stride
    if not isinstance(window, int) or not isinstance(stride, int) or module.return_indices:
        return None
    if (module.padding, module.dilation) != (0, 1):
        return None
    return {"window": window, "stride": stride, "ceil_mode": module.ceil_mode}


def _part(variant: Variant, name: str) -> int | None:
    """Place of a stage in `Stage`; None for one that is no part of it."""
    kind = name.rstrip("0123456789")
    if kind not in _NAMES or (kind == "relu" and variant.activation != "relu"):
        return None
    return _NAMES.index(kind)
