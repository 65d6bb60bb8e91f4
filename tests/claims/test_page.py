"""docs/results.md says what the committed result files say."""

import json
import re
from pathlib import Path
from typing import Any

from alexnet.claims.catalog import CLAIMS
from alexnet.claims.claim import Finding, Setting
from alexnet.claims.figure_1 import figure_1, has_figure_1
from alexnet.claims.intervals import mean_of
from alexnet.claims.page import _main, results_page
from alexnet.claims.results import read_results, result_lines, write_result
from alexnet.claims.scales import SCALES

DOCS = Path(__file__).resolve().parents[2] / "docs"
ENVIRONMENT = {
    "device": "cpu",
    "processor": "A Processor",
    "cores": 2,
    "torch": "2.13.0",
    "precision": "fp32",
    "commit": "abc1234",
    "date": "2026-11-25",
    "command": "alexnet reproduce depth --scale cpu",
}
IMAGES = {"train_images": 9469, "validation_images": 3925, "classes": 10, "fingerprint": "f00"}


def example(folder: Path, complete: bool = True) -> None:
    claim = CLAIMS["depth"]
    finding = Finding(
        [mean_of("top-1 error, reference", "%", [30.0, 31.0, 32.0], paper=40.7)],
        "as expected",
        ["a note"],
    )
    measured = {
        ("reference", seed): {"top1_error": 30.0 + seed, "curve": [[1, 2]]} for seed in range(3)
    }
    setting = Setting(SCALES["cpu"], "/somewhere/photographs")
    write_result(
        folder / "depth_cpu.json", claim, setting, measured, finding, IMAGES, ENVIRONMENT, complete
    )


def test_the_committed_page_is_that_of_the_committed_files() -> None:
    page = results_page(read_results(DOCS / "results" / "claims"))
    assert (DOCS / "results.md").read_text(encoding="utf-8") == page


def test_a_result_comes_back_as_it_was_written(tmp_path: Path) -> None:
    example(tmp_path)
    (tmp_path / "other.json").write_text("{}")
    (document,) = read_results(tmp_path)
    assert document["runs"] == [
        {"arm": "reference", "seed": seed, "top1_error": 30.0 + seed} for seed in range(3)
    ]
    assert "/somewhere" not in json.dumps(document)
    text = "\n".join(result_lines(document))
    assert "31.0 % (28.5 to 33.5) ± 1.00 [3 seeds]" in text
    assert "40.7" in text


def test_the_page_has_every_claim_and_every_number(tmp_path: Path) -> None:
    example(tmp_path, complete=False)
    page = results_page(read_results(tmp_path))
    assert all(f"## {name}\n" in page for name in CLAIMS)
    row = "| top-1 error, reference (%) | 40.7 | - | 31.0 (28.5 to 33.5) ± 1.00 | 3 |"
    assert row in page
    assert "photographs (9,469 images to train on, 3,925 held out, 10 classes)" in page
    assert "A Processor, 2 cores, torch 2.13.0, fp32, commit abc1234" in page
    assert "`alexnet reproduce depth --scale cpu`" in page
    assert "| [depth](#depth) | 7 | cpu | 3 | as expected (unfinished) |" in page
    assert "| [relu](#relu) | 3.1, Figure 1 | - | 0 | not run yet |" in page


def relu_document() -> dict[str, Any]:
    curve = [[0.25, 0.8], [0.5, 0.5], [0.75, 0.2]]
    runs = [
        {"arm": f"figure-1-{units}-0.002", "seed": seed, "train_curve": curve}
        for units in ("relu", "tanh")
        for seed in range(3)
    ]
    return {"claim": "relu", "scale": "cpu", "runs": runs}


def test_figure_1_draws_every_seed_but_the_one_that_looked_for_the_rate() -> None:
    document = relu_document()
    drawn = figure_1(document)
    assert drawn == figure_1(document)  # the same bytes, or a commit would change it for nothing
    curves = re.findall(r"<path [^>]*clip-path[^>]*stroke: (?:#0072b2|#d55e00)", drawn)
    assert len(curves) == 4  # the lines of the legend are not clipped
    document["runs"] = [run for run in document["runs"] if run["seed"] == 0]
    assert not has_figure_1(document)
    assert not has_figure_1({**relu_document(), "claim": "depth"})


def test_the_page_and_its_figure_are_written_together(tmp_path: Path) -> None:
    example(tmp_path)
    (document,) = read_results(tmp_path)
    (tmp_path / "relu_cpu.json").write_text(json.dumps({**document, **relu_document()}))
    (tmp_path / "depth_cpu.json").unlink()
    (tmp_path / "figures").mkdir()
    _main(tmp_path, tmp_path / "results.md")
    (link,) = re.findall(r"!\[.*?\]\((.*?)\)", (tmp_path / "results.md").read_text())
    assert (tmp_path / link).read_text().startswith("<?xml")


def test_pictures_of_the_committed_page_are_there() -> None:
    for link in re.findall(r"!\[.*?\]\((.*?)\)", (DOCS / "results.md").read_text()):
        assert (DOCS / link).is_file()
