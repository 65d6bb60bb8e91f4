"""Section 3.2: two columns against one of half the width, and against columns that never exchange.

The half net keeps its last convolutional and its hidden layers whole (footnote 2 of the paper).
Without exchange the columns meet in fc8 only: once with nothing else changed, and once as in the
authors' net 150, which is widened until it has as many parameters as before.
"""

from alexnet.claims.photographs import ablation

CLAIM = ablation(
    name="two-columns",
    section="3.2",
    paper="two columns lower top-1 and top-5 error by 1.7 and 1.2 against one of half the kernels",
    logs="145-half against 145, ILSVRC-2010 test: 1.70 and 1.23; without exchange (150): "
    "1.17 and 1.12, ILSVRC-2012 validation, ten views",
    expected="one column of half the width, and columns without exchange, are worse",
    arms={
        "half": ("model.variant=half",),
        "no-exchange-150": ("model.variant=no-exchange-150",),
        "no-exchange": ("model.variant=no-exchange",),
    },
    published={"half": (1.7, 1.2)},
    logged={"half": (1.70, 1.23), "no-exchange-150": (1.17, 1.12)},
)
