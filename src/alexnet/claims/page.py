"""docs/results.md and its Figure 1, made from committed result files and from nothing else.

python -m alexnet.claims.page docs/results/claims docs/results.md
"""

import sys
from pathlib import Path
from typing import Any

from alexnet.claims.catalog import CLAIMS
from alexnet.claims.claim import Claim, Quantity
from alexnet.claims.figure_1 import figure_1, has_figure_1
from alexnet.claims.results import number, read_results
from alexnet.claims.scales import SCALES
from alexnet.files import write_text

_INTRODUCTION = """# Results

Every claim of the paper, and what became of it here. This page is made from the result files in
`docs/results/claims` by `python -m alexnet.claims.page docs/results/claims docs/results.md`; a test
holds it to them.

## How to read it

`alexnet reproduce CLAIM --scale SCALE --data DATA --out DIR` makes a result file; the command of
each is below its table. Scales: `smoke` takes seconds and shows only that everything hangs
together, `cpu` takes hours on a few cores, `gpu` hours on one device, `full` is the paper's own
experiment. DATA of the photographs is a folder of any class folders; `imagenette-128` is Imagenette
(photographs of 10 ILSVRC classes, fast.ai) after `alexnet prepare IMAGENETTE imagenette-128 --size
128`; `cifar10-32` is CIFAR-10 from JPEG copies of its images, prepared at 32 pixels. At `cpu` the
network is too narrow and the images are too few to repeat the paper's error rates; what can be
compared is the sign of a difference and, with care, its size.

Each claim compares *arms*, which differ in one thing and are trained with the same seeds.
`reference` is the network of section 3.5 with everything on; the other arms are named by what they
lack (`no-exchange-150` is the authors' net 150: columns without exchange, as many parameters).
*Points* are differences of two errors in percent.

Measured numbers are means over seeds with a 95 % interval in brackets and the standard deviation
over seeds after ±. Arms of a claim are versions of one network, so the deviation over seeds behind
the intervals of errors and their differences is estimated once, from all arms together (analysis of
variance), in `normalisation` from those of the 18 % net and from the others apart; for ratios it is
each arm's own (Welch). Where no arm has two seeds there is no interval. A verdict is about top-1
error: *confirmed in direction* where the interval lies on the paper's side of no difference,
*contradicted* where it lies on the other, *not resolved at this scale* where it includes none. An
interval covers the choice of seeds, not that of the held-out images, and each stands for itself: of
twenty that hold nothing, one excludes zero by chance.

## What was found
"""


def results_page(documents: list[dict[str, Any]]) -> str:
    """The page as Markdown."""
    parts = [_INTRODUCTION, _overview(documents)]
    for claim in CLAIMS.values():
        mine = [d for d in documents if d["claim"] == claim.name]
        parts.append(_claim_section(claim, sorted(mine, key=_order)))
    return "\n".join(parts)


def _order(document: dict[str, Any]) -> int:
    return list(SCALES).index(document["scale"])


def _overview(documents: list[dict[str, Any]]) -> str:
    lines = ["| claim | section | scale | runs | found |", "|---|---|---|---:|---|"]
    for claim in CLAIMS.values():
        mine = sorted((d for d in documents if d["claim"] == claim.name), key=_order)
        if not mine:
            lines.append(
                f"| [{claim.name}](#{claim.name}) | {claim.section} | - | 0 | not run yet |"
            )
        for document in mine:
            unfinished = "" if document["complete"] else " (unfinished)"
            lines.append(
                f"| [{claim.name}](#{claim.name}) | {claim.section} | {document['scale']} "
                f"| {len(document['runs'])} | {document['verdict']}{unfinished} |"
            )
    return "\n".join(lines) + "\n"


def _claim_section(claim: Claim, documents: list[dict[str, Any]]) -> str:
    lines = [
        f"## {claim.name}",
        "",
        f"Section {claim.section}. The paper: {claim.paper}. The authors' logs: {claim.logs}.",
        "",
    ]
    for document in documents:
        lines += _result(document)
    return "\n".join(lines)


def _result(document: dict[str, Any]) -> list[str]:
    environment = document["environment"]
    state = "" if document["complete"] else " Unfinished: more runs are planned than are done."
    hardware = (
        environment["device"]
        if environment["device"] != "cpu"
        else f"{environment['processor']}, {environment['cores']} cores"
    )
    lines = [
        f"**Scale `{document['scale']}`, {_data(document)}:** {document['verdict']}.{state}",
        "",
        "| quantity | paper | logs | measured | seeds |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in document["quantities"]:
        quantity = Quantity(**{**row, "values": tuple(row["values"])})
        lines.append(
            f"| {quantity.name} ({quantity.unit}) | {_published(quantity.paper)} "
            f"| {_published(quantity.logs)} | {_ours(quantity)} | {quantity.seeds or '-'} |"
        )
    if has_figure_1(document):
        lines += ["", f"![Training error over epochs]({_figure_1(document)})"]
    return [
        *lines,
        "",
        *(f"- {note}" for note in document["notes"]),
        f"- {hardware}, torch {environment['torch']}, {environment['precision']}, commit "
        f"{environment['commit']}, {document['date']}: `{environment['command']}`",
        "",
    ]


def _data(document: dict[str, Any]) -> str:
    images = document["images"]
    return (
        f"{document['data']} ({images['train_images']:,} images to train on, "
        f"{images['validation_images']:,} held out, {images['classes']} classes)"
    )


def _published(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _ours(quantity: Quantity) -> str:
    if quantity.mean is None:
        return "-"
    words = number(quantity.mean)
    if quantity.low is not None and quantity.high is not None:
        words += f" ({number(quantity.low)} to {number(quantity.high)})"
    return words if quantity.spread is None else f"{words} ± {number(quantity.spread)}"


def _figure_1(document: dict[str, Any]) -> str:
    return f"figures/figure-1-{document['scale']}.svg"


def _main(source: Path, target: Path) -> None:
    documents = read_results(source)
    for document in filter(has_figure_1, documents):
        write_text(target.parent / _figure_1(document), figure_1(document))
    write_text(target, results_page(documents))


if __name__ == "__main__":
    _main(*map(Path, sys.argv[1:3]))
