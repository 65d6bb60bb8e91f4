"""The report: a sound page, the numbers that went in, and nothing a class name could break."""

import base64
import dataclasses
import io
import math
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexnet.errors import UserError
from alexnet.evaluation import plots
from alexnet.evaluation.report import Mistake, ReportInput, render_report, write_report

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source"}


class Page(HTMLParser):
    """A page as a list of elements; fails on a tag that is not closed in its turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []  # path of tags, text
        self.open: list[str] = []
        self.by_id: dict[str, int] = {}
        self.within: list[tuple[int, ...]] = []  # for every text: the elements it stands in
        self.open_indices: list[int] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._add(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
            self.open_indices.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._add(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert tag not in VOID
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag
        self.open_indices.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self.open), data))
        self.within.append(tuple(self.open_indices))

    def _add(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> repeats an attribute"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if "id" in dict(attrs):
            identifier = str(dict(attrs)["id"])
            assert identifier not in self.by_id, f"id {identifier} twice"
            self.by_id[identifier] = len(self.elements) - 1

    def all(self, tag: str) -> Iterator[dict[str, str]]:
        return (attributes for name, attributes in self.elements if name == tag)

    def attributes(self, identifier: str) -> dict[str, str]:
        return self.elements[self.by_id[identifier]][1]

    def text(self, identifier: str) -> str:
        index = self.by_id[identifier]
        return "".join(
            text for (_, text), path in zip(self.texts, self.within, strict=True) if index in path
        )

    def table(self, identifier: str) -> list[list[str]]:
        """The texts of the cells of the table's body, row by row."""
        table = self.by_id[identifier]
        rows: dict[int, dict[int, str]] = {}
        for (tags, text), path in zip(self.texts, self.within, strict=True):
            if table in path and "tbody" in tags and ("td" in tags or "th" in tags):
                row = path[tags.index("tr", tags.index("tbody"))]
                cell = path[max(i for i, tag in enumerate(tags) if tag in {"td", "th"})]
                rows.setdefault(row, {}).setdefault(cell, "")
                rows[row][cell] += text
        if not rows:
            return []
        for index in range(min(rows), max(rows[max(rows)]) + 1):  # empty cells have no text
            if index in rows:
                row = index
            elif self.elements[index][0] in {"td", "th"}:
                rows[row].setdefault(index, "")
        return [[cells[index].strip() for index in sorted(cells)] for cells in rows.values()]


def metrics_rows(steps: int = 40, every: int = 10) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        loss = 2.3 * math.exp(-step / 20)
        common = {"step": step, "epoch": step / every, "top5_error": 0.0}
        rows.append(
            common
            | {
                "split": "train",
                "loss": loss,
                "top1_error": loss / 3,
                "learning_rate": 0.01,
                "images_per_second": 900.0 + step,
                "data_wait_fraction": 0.01,
            }
        )
        if step % every == 0:
            rows.append(common | {"split": "val", "loss": 0.9 * loss, "top1_error": loss / 4})
    return rows


def confusion_of(classes: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    right = np.diag(generator.integers(20, 40, classes))
    wrong = generator.poisson(8.0 / classes, (classes, classes)) * (1 - np.eye(classes, dtype=int))
    return np.asarray(right + wrong, dtype=np.int64)


def a_report(classes: int | tuple[str, ...] = 10, **changes: Any) -> ReportInput:
    if isinstance(classes, int):
        classes = tuple(f"class {index}" for index in range(classes))
    confusion = changes.pop("confusion", confusion_of(len(classes)))
    images = int(confusion.sum())
    generator = np.random.default_rng(1)
    report = ReportInput(
        title="digits",
        config={"recipe": "default", "optimizer": {"lr": 0.00125, "layer_rates": []}},
        environment={"torch": "2.13.0", "cpu": {"cores": 2}},
        metrics=[],  # curves take most of the time: only for the tests that want them
        classes=classes,
        confusion=confusion,
        images=images,
        views=1,
        top1_error=1.0 - float(np.trace(confusion)) / images,
        top5_error=0.03125,
        top1_error_interval=(0.1234567, 0.3456789),
        top5_error_interval=(0.021, 0.0456),
        loss=0.7654321,
        mistakes=[
            Mistake(
                f"val/{index}.jpg",
                "class 1",
                "class 2",
                0.5 + 0.1 * index,
                generator.integers(0, 256, (64, 48, 3)).astype(np.uint8),
            )
            for index in range(3)
        ],
        kernels=generator.normal(size=(16, 3, 11, 11)).astype(np.float32),
        columns=2,
        parameters=58_301_706,
        notes=["the learning rate suits ten classes"],
    )
    return dataclasses.replace(report, **changes)


# A sound page


@pytest.mark.parametrize("classes", [2, 5, 10, 13, 40, 41, 120])
def test_the_page_is_well_formed_and_needs_nothing_else(classes: int) -> None:
    html = render_report(a_report(classes, metrics=metrics_rows()))
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    without_pictures = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=\s]+", "", html)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", without_pictures)
    for tag in ("link", "iframe", "object", "embed"):
        assert not list(page.all(tag))
    images = list(page.all("img"))
    assert len(images) == 3
    assert all(image["alt"] and image["src"].startswith("data:image/") for image in images)
    pictures = list(page.all("svg"))
    assert len(pictures) == 5
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in pictures)
    assert all(cell.get("scope") in {"row", "col"} for cell in page.all("th"))
    referred = re.findall(r'(?:xlink:href="|href="|url\()#([^")]+)', html)
    assert referred
    assert set(referred) <= set(page.by_id)


def test_the_same_input_gives_the_same_page() -> None:
    report = a_report(50, metrics=metrics_rows())
    assert render_report(report) == render_report(report)


def test_a_thousand_classes_stay_under_three_megabytes(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    mistakes = [
        Mistake("k", "a", "b", 0.9, generator.integers(0, 256, (256, 256, 3)).astype(np.uint8))
    ] * 40
    names = tuple(
        f"{index}: a class with a rather long name, as WordNet has" for index in range(1000)
    )
    write_report(tmp_path / "report.html", a_report(names, mistakes=mistakes))
    assert (tmp_path / "report.html").stat().st_size < 3e6
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "confusion-matrix" not in page.by_id
    assert len(page.table("class-table")) == 1000
    assert "long" in page.attributes("class-table")["class"].split()


def test_ten_classes_take_less_than_five_seconds() -> None:
    started = time.process_time()
    render_report(a_report(metrics=metrics_rows()))
    assert time.process_time() - started < 5.0


# The numbers that went in


def test_numbers_on_the_page_are_those_of_the_input() -> None:
    report = a_report(metrics=metrics_rows())
    page = Page(render_report(report))
    shown = {
        "top1-error": (report.top1_error, f"{100 * report.top1_error:.1f}\u00a0%"),
        "top5-error": (report.top5_error, "3.1\u00a0%"),
        "images": (report.images, f"{report.images:,}"),
        "loss": (report.loss, "0.7654"),
        "parameters": (report.parameters, "58,301,706"),
        "speed": (920.5, "920"),
        "data-wait": (0.01, "1.0\u00a0%"),
    }
    for identifier, (value, text) in shown.items():
        assert float(page.attributes(identifier)["value"]) == value
        assert page.text(identifier) == text
    values = [data["value"] for data in page.all("data")]
    for end in (*report.top1_error_interval, *report.top5_error_interval):
        assert repr(end) in values
    whole = "".join(text for _, text in page.texts)
    assert "12.3\u00a0% to 34.6\u00a0% (Wilson\u00a095\u00a0%)" in whole
    assert "2.1\u00a0% to 4.6\u00a0% (Wilson\u00a095\u00a0%)" in whole
    for text in ("0.00125", "layer_rates", "cpu.cores", "2.13.0", *report.notes):
        assert text in whole


def test_large_sets_get_a_second_decimal() -> None:
    report = a_report(images=50_000, top1_error=0.37512)
    assert Page(render_report(report)).text("top1-error") == "37.51\u00a0%"


@pytest.mark.parametrize(("classes", "shown"), [(5, False), (6, True)])
def test_top5_is_left_out_where_it_cannot_be_wrong(classes: int, shown: bool) -> None:
    page = Page(render_report(a_report(classes)))
    assert ("top5-error" in page.by_id) == shown


@pytest.mark.parametrize(("views", "words"), [(1, "central view"), (10, "through 10 views")])
def test_views_are_told(views: int, words: str) -> None:
    assert words in Page(render_report(a_report(views=views))).text("views")


@pytest.mark.parametrize("classes", [3, 10, 40])
def test_the_matrix_shows_every_count(classes: int) -> None:
    report = a_report(classes)
    cells = Page(render_report(report)).table("confusion-matrix")
    assert [row[0] for row in cells] == list(report.classes)
    counts = [[int(cell or 0) for cell in row[1:]] for row in cells]
    np.testing.assert_array_equal(counts, report.confusion)


def test_the_pairs_are_the_most_frequent_mistakes() -> None:
    report = a_report(60)
    page = Page(render_report(report))
    shown = [
        (row[0], row[1], int(row[2]), int(row[3]), int(row[5]))
        for row in page.table("confused-pairs")
    ]
    every = [
        (int(report.confusion[i, j]), i, j)
        for i in range(60)
        for j in range(60)
        if i != j and report.confusion[i, j]
    ]
    images = report.confusion.sum(axis=1)
    every.sort(key=lambda pair: (-pair[0], images[pair[1]], pair[1], pair[2]))
    assert shown == [
        (f"class {i}", f"class {j}", count, int(images[i]), int(report.confusion[j, i]))
        for count, i, j in every[:25]
    ]


def test_the_groups_hold_every_mistake_and_say_how_many_stay_inside() -> None:
    classes, size = 64, 8  # eight planted groups, and the page makes eight of 64 classes
    same = np.kron(np.eye(8, dtype=int), np.ones((size, size), dtype=int))
    confusion = same + 9 * np.eye(classes, dtype=int)  # each of its group once, ten times right
    for index in range(classes):
        confusion[index, (index + size) % classes] = 3
    report = a_report(classes, confusion=confusion.astype(np.int64))
    page = Page(render_report(report))
    cells = [[int(cell or 0) for cell in row[1:]] for row in page.table("confusion-groups")]
    assert len(cells) == 8
    assert sum(map(sum, cells)) == classes * (7 + 3)
    assert [row[i] for i, row in enumerate(cells)] == [size * 7] * 8
    caption = page.text("confusion-groups")
    assert "70.0\u00a0% of all mistakes stay inside a group" in caption
    assert "spread evenly it would be 11.1\u00a0%" in caption  # 7 of the 63 other classes


def test_many_classes_without_a_mistake() -> None:
    report = a_report(50, confusion=np.diag(np.full(50, 3)), top1_error=0.0, mistakes=[])
    page = Page(render_report(report))
    assert not {"confused-pairs", "confusion-groups"} & set(page.by_id)
    assert "None: every image was named correctly." in "".join(text for _, text in page.texts)


def test_the_class_table_counts_and_begins_with_the_worst() -> None:
    confusion = np.array([[8, 2, 0], [0, 5, 0], [1, 4, 5]])
    report = a_report(("a", "b", "c"), confusion=confusion)
    rows = Page(render_report(report)).table("class-table")
    # Intervals by Wilson's formula, reckoned apart: 5 of 10, 2 of 10 and 0 of 5 mistakes.
    assert [[cell.replace("\u00a0", " ") for cell in row if cell] for row in rows] == [
        ["c", "10", "5", "50.0 %", "23.7 % to 76.3 %", "b (4)"],
        ["a", "10", "2", "20.0 %", "5.7 % to 51.0 %", "b (2)"],
        ["b", "5", "0", "0.0 %", "0.0 % to 43.4 %"],
    ]


def test_a_class_without_images_has_no_error_rate() -> None:
    report = a_report(("a", "b"), confusion=np.array([[0, 0], [1, 3]]))
    rows = Page(render_report(report)).table("class-table")
    assert rows[-1][:4] == ["a", "0", "0", "–"]


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.1, 0.2), "correctly; always answering the commonest class is wrong on 50.0\u00a0%"),
        ((0.4, 0.6), "not measurably better than guessing"),
        ((0.6, 0.9), "worse than guessing"),
    ],
)
def test_the_verdict_compares_with_guessing(interval: tuple[float, float], words: str) -> None:
    report = a_report(
        2, confusion=np.array([[40, 10], [10, 40]]), top1_error_interval=interval, top1_error=0.2
    )
    assert words in Page(render_report(report)).text("verdict")


def test_the_verdict_on_answers_that_are_no_numbers() -> None:
    page = Page(render_report(a_report(loss=math.nan)))
    assert "not numbers" in page.text("verdict")
    assert page.text("loss") == "not a number"


# Metrics of all kinds


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(metrics_rows()[:1], id="one row"),
        pytest.param([row for row in metrics_rows() if row["split"] == "train"], id="no val"),
        pytest.param([row for row in metrics_rows() if row["split"] == "val"], id="only val"),
        pytest.param([row | {"loss": math.nan} for row in metrics_rows()], id="all NaN"),
        pytest.param([row | {"loss": math.inf, "top1_error": None} for row in metrics_rows()]),
        pytest.param([row | {"epoch": 0, "step": 0} for row in metrics_rows()[:1]], id="step 0"),
        pytest.param([row | {"learning_rate": 0.0} for row in metrics_rows()], id="rate 0"),
        pytest.param(
            [row | {"learning_rate": 10.0 ** -(row["step"] // 8)} for row in metrics_rows()],
            id="rate over decades",
        ),
    ],
)
def test_every_kind_of_metrics_gives_a_page(rows: list[dict[str, Any]]) -> None:
    page = Page(render_report(a_report(metrics=rows)))
    assert len(list(page.all("svg"))) == 5


def test_without_metrics_there_are_no_curves() -> None:
    page = Page(render_report(a_report()))
    assert len(list(page.all("svg"))) == 1
    assert "No metrics were logged." in "".join(text for _, text in page.texts)


@pytest.mark.parametrize("broken", [math.nan, None, math.inf])
def test_rows_that_are_no_numbers_are_told(broken: float | None) -> None:
    rows = metrics_rows()
    for row in rows:
        if row["step"] in {17, 23}:
            row["loss"] = broken
    text = "".join(text for _, text in Page(render_report(a_report(metrics=rows))).texts)
    assert "not a number in 2 of 40 logged training rows, first at step 17;" in text


def test_rows_that_are_numbers_need_no_telling() -> None:
    page = Page(render_report(a_report(metrics=metrics_rows())))
    assert "not a number" not in "".join(text for _, text in page.texts)


def test_the_curves_go_through_the_logged_values() -> None:
    rows = metrics_rows()
    rows[4]["loss"] = math.nan
    axes = plots.loss_figure(rows, 10).axes[0]
    train, validation = (line.get_xydata() for line in axes.lines[:2])
    logged = [row for row in rows if row["split"] == "train"]
    np.testing.assert_array_equal(train, [[row["step"], row["loss"]] for row in logged])
    logged = [row for row in rows if row["split"] == "val"]
    np.testing.assert_array_equal(validation, [[row["step"], row["loss"]] for row in logged])
    percent = np.asarray(plots.error_figure(rows).axes[0].lines[0].get_ydata())
    assert percent[0] == pytest.approx(100 * rows[0]["top1_error"])


def test_long_curves_are_averaged_in_bins_and_show_their_range() -> None:
    generator = np.random.default_rng(0)
    losses = generator.normal(2.0, 0.1, 4000)
    losses[:10] = math.nan  # a whole bin
    losses[15] = math.nan
    rows = [
        {"step": step, "split": "train", "loss": float(loss)} for step, loss in enumerate(losses)
    ]
    axes = plots.loss_figure(rows, 10).axes[0]
    drawn = np.asarray(axes.lines[0].get_xydata())
    assert len(drawn) == 400
    assert math.isnan(drawn[0, 1])
    assert drawn[1] == pytest.approx([14.5, np.nanmean(losses[10:20])])
    assert drawn[-1] == pytest.approx([3994.5, losses[3990:].mean()])
    band = np.asarray(axes.collections[0].get_paths()[0].vertices)
    assert band[:, 1].max() == np.nanmax(losses)
    assert band[:, 1].min() == np.nanmin(losses)


def test_epochs_are_marked_where_they_end() -> None:
    figure = plots.error_figure(metrics_rows(steps=45, every=10))
    (epochs,) = (child for child in figure.axes[0].child_axes)
    assert [text.get_text() for text in epochs.get_xticklabels()] == ["1", "2", "3", "4"]
    np.testing.assert_allclose(epochs.get_xticks(), [10, 20, 30, 40])


def test_ninety_epochs_get_nine_marks() -> None:
    figure = plots.error_figure(metrics_rows(steps=180, every=2))
    (epochs,) = (child for child in figure.axes[0].child_axes)
    assert [text.get_text() for text in epochs.get_xticklabels()] == [
        str(n) for n in range(10, 91, 10)
    ]


# Names of all kinds


def test_names_cannot_become_markup() -> None:
    evil = '"><script>alert(1)</script><img src=x onerror="alert(2)">\'&amp;{{ 7*7 }}'
    report = a_report(
        (evil, "b" + evil, "c"),
        title=evil,
        notes=[evil],
        config={evil: {evil: evil}, "x" + evil: evil},
        environment={evil: evil, "nested": {evil: [evil]}},
        mistakes=[Mistake(evil, evil, evil, 0.9, np.zeros((8, 8, 3), dtype=np.uint8))],
    )
    plain = Page(render_report(a_report(3, mistakes=a_report().mistakes[:1])))
    for page in (
        Page(render_report(report)),
        Page(render_report(a_report((evil,) * 60))),
    ):
        assert len(list(page.all("script"))) == len(list(plain.all("script"))) == 1
        assert all(image["src"].startswith("data:") for image in page.all("img"))
        assert not [key for _, keys in page.elements for key in keys if key.startswith("on")]
    page = Page(render_report(report))
    assert len(list(page.all("img"))) == 1
    assert evil in [data for tags, data in page.texts if tags[-1:] == ("li",)]


def test_long_names_are_cut_and_kept_in_the_title() -> None:
    long = "a very long name of a class that goes on and on and on and on"
    page = Page(render_report(a_report((long, "b", "c"))))
    names = [row[0] for row in page.table("confusion-matrix")]
    assert names[1:] == ["b", "c"]
    assert names[0].endswith("…")
    assert len(names[0]) <= 24
    assert long.startswith(names[0][:-1])
    assert long in [bdi.get("title") for bdi in page.all("bdi")]


def test_a_name_of_any_length_leaves_the_page_small() -> None:
    html = render_report(a_report(("x" * 100_000,) * 40))
    assert len(html) < 1_000_000


def test_names_that_are_no_text_are_written(tmp_path: Path) -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    write_report(tmp_path / "report.html", a_report((name, "日本", "c")))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "caf\\udce9" in text
    assert "日本" in text


# Pictures and kernels


def pictures_of(report: ReportInput) -> list[Image.Image]:
    sources = [image["src"] for image in Page(render_report(report)).all("img")]
    return [Image.open(io.BytesIO(base64.b64decode(s.split(",", 1)[1]))) for s in sources]


@pytest.mark.parametrize(
    ("shape", "size"),
    [((8, 8), (96, 96)), ((32, 32), (96, 96)), ((100, 120), (120, 100)), ((500, 1000), (160, 80))],
)
def test_pictures_are_of_bounded_size(shape: tuple[int, int], size: tuple[int, int]) -> None:
    mistake = Mistake("k", "a", "b", 0.9, np.full((*shape, 3), 200, dtype=np.uint8))
    (picture,) = pictures_of(a_report(mistakes=[mistake]))
    assert picture.size == size
    np.testing.assert_allclose(np.asarray(picture), 200, atol=2)


def test_the_surest_mistakes_come_first_and_no_more_than_24() -> None:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    mistakes = [Mistake(str(i), f"is {i}", "b", i / 100, pixels) for i in range(60)]
    page = Page(render_report(a_report(mistakes=mistakes)))
    shown = [image["alt"] for image in page.all("img")]
    assert shown == [f"is {i}, taken for b" for i in range(59, 35, -1)]


def test_kernels_are_scaled_each_by_its_largest_weight_around_grey() -> None:
    kernels = np.zeros((3, 3, 2, 2))
    kernels[0, 0, 0, 0], kernels[0, 1, 0, 1], kernels[0, 2, 1, 1] = 4.0, -4.0, 2.0
    kernels[1] = 1e-9  # weak and strong look alike
    mosaic = plots.kernel_mosaic(kernels)
    assert mosaic.shape == (5, 5, 4)  # two by two places of 2 x 2 pixels, one pixel apart
    grey = 128
    np.testing.assert_array_equal(mosaic[0, 0], [255, grey, grey, 255])
    np.testing.assert_array_equal(mosaic[0, 1], [grey, 0, grey, 255])
    np.testing.assert_array_equal(mosaic[1, 1], [grey, grey, 191, 255])
    np.testing.assert_array_equal(mosaic[:2, 3:], np.full((2, 2, 4), 255))
    np.testing.assert_array_equal(mosaic[3:, :2, :3], np.full((2, 2, 3), grey))  # all zero
    assert not mosaic[2].any()  # the gap is clear
    assert not mosaic[3:, 3:].any()  # and so is a place without a kernel


def test_kernels_that_are_no_numbers_are_grey() -> None:
    mosaic = plots.kernel_mosaic(np.full((1, 3, 2, 2), np.nan))
    np.testing.assert_array_equal(mosaic[:2, :2, :3], np.full((2, 2, 3), 128))


@pytest.mark.parametrize(
    ("columns", "titles"),
    [(1, ["all kernels"]), (2, ["column a", "column b"]), (4, [f"column {c}" for c in "abcd"])],
)
def test_each_column_has_a_panel_with_its_kernels(columns: int, titles: list[str]) -> None:
    kernels = np.random.default_rng(0).normal(size=(96, 3, 11, 11)).astype(np.float32)
    figure = plots.kernels_figure(kernels, columns)
    assert [axes.get_title() for axes in figure.axes] == titles
    count = 96 // columns
    for index, axes in enumerate(figure.axes):
        expected = plots.kernel_mosaic(kernels[index * count : (index + 1) * count])
        np.testing.assert_array_equal(axes.images[0].get_array(), expected)


def test_kernels_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="7 kernels do not divide into 2 columns"):
        plots.kernels_figure(np.ones((7, 3, 3, 3)), 2)


# Writing


def test_writing_replaces_the_old_page_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    report = a_report()
    write_report(path, report)
    assert path.read_text(encoding="utf-8") == render_report(report)
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as stream:
            stream.write(data[:1000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"cannot write .*report\.html: the disk is full"):
        write_report(path, a_report())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        write_report(tmp_path / "gone" / "report.html", a_report())
    assert "\n" not in str(caught.value)
