"""Section 7: the net without one of its middle layers.

Without conv3 the columns exchange nothing before fc6, because conv3 is where they meet; without
conv5 the layer fc6 sees half as many maps more and grows.
"""

from alexnet.claims.photographs import ablation

_LAYERS = (3, 4, 5)

CLAIM = ablation(
    name="depth",
    section="7",
    paper="removing any of the middle layers loses about 2 % of top-1 performance",
    logs="no such run is in the release",
    expected="without a middle layer it is worse",
    arms={f"without-conv{n}": (f"model.variant=without-conv{n}",) for n in _LAYERS},
    published={f"without-conv{n}": (2.0, None) for n in _LAYERS},
)
