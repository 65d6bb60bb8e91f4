"""The command line as other programs and people use it, on a run made once."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import IO, Any

import pytest
import torch

import alexnet
from alexnet.cli import run as command
from alexnet.errors import UserError, within_memory
from alexnet.verbs import verbs
from alexnet.verbs.words import errors_in_words
from runs import TINY


@pytest.fixture(scope="module")
def trained(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("cli") / "run"
    arguments = ["train", image_folder, "--out", run, *TINY, "--epochs", "2", "--batch-size", "8"]
    assert command([str(argument) for argument in arguments]) == 0
    return run


@pytest.fixture
def unfinished(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run as it was before its result was written."""
    run = shutil.copytree(trained, tmp_path / "unfinished")
    (run / "result.json").unlink()
    return run


def call(capsys: pytest.CaptureFixture[str], *arguments: Any, code: int = 0) -> str:
    """The standard output of a command that ends with the given code."""
    capsys.readouterr()
    assert command([str(argument) for argument in arguments]) == code
    return capsys.readouterr().out


def complaint(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """The one line with which a command ends that the user has to mend."""
    capsys.readouterr()
    assert command([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    last = captured.err.splitlines()[-1]
    assert last.startswith("alexnet: ")
    assert "Traceback" not in captured.err
    return last


def test_the_real_program_trains_measures_and_predicts(image_folder: Path, tmp_path: Path) -> None:
    """End to end through real processes, stdout one JSON document each."""

    def program(*arguments: Any) -> Any:
        line = [sys.executable, "-m", "alexnet", *map(str, arguments), "--json"]
        return json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)

    run = tmp_path / "run"
    trained = program("train", image_folder, "--out", run, *TINY, "--steps", "6")
    assert trained["run"] == str(run)
    assert trained["steps"] == 6
    measured = program("eval", run, image_folder, "--views", "10")
    assert measured["images"] == 30
    assert measured["views"] == 10
    (entry,) = program("predict", run, image_folder / "val" / "red" / "000.png", "--top", "2")
    assert [p["label"] for p in entry["predictions"]] != []
    assert program("info", run)["layers"][-1]["output"] == [3, 1, 1]


def test_train_follows_its_contract(trained: Path) -> None:
    result = json.loads((trained / "result.json").read_text())
    assert result.keys() >= {
        *("run", "steps", "epochs", "seconds", "images_per_second", "data_wait_fraction"),
        *("top1_error", "top5_error"),
    }
    assert result["epochs"] == 2.0
    names = {path.name for path in trained.iterdir()}
    assert names >= {
        *("config.json", "environment.json", "metrics.jsonl", "checkpoints"),
        *("weights.safetensors", "report.html"),
    }


def test_the_report_opens_offline(trained: Path) -> None:
    found = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(v for k, v in attrs if k in ("src", "href") and v and "://" in v)

    Links().feed((trained / "report.html").read_text())
    assert found == []


def test_eval_follows_its_contract(
    trained: Path, image_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(call(capsys, "eval", trained, image_folder, "--json"))
    assert document.keys() >= {
        *("images", "views", "top1_error", "top5_error", "top1_error_interval", "loss", "runs")
    }
    low, high = document["top1_error_interval"]
    assert 0.0 <= low <= document["top1_error"] <= high <= 1.0
    result = json.loads((trained / "result.json").read_text())
    assert document["top1_error"] == result["top1_error"]
    both = json.loads(call(capsys, "eval", trained, trained, image_folder, "--json"))
    assert both["runs"] == [str(trained), str(trained)]
    assert both["top1_error"] == document["top1_error"]
    assert "images  mostly taken for" in call(capsys, "eval", trained, image_folder)


def test_eval_says_what_was_decided_on_the_way(
    trained: Path, new_image_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = new_image_folder(count=4)
    (folder / "val").rename(folder / "test")
    assert command(["eval", str(trained), str(folder)]) == 0
    assert "test/ serves as the validation set" in capsys.readouterr().err


def test_a_bad_image_is_an_entry(
    trained: Path, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(image_folder / "val" / "red" / "001.png", tmp_path / "good.png")
    (tmp_path / "empty.jpg").write_bytes(b"")
    entries = json.loads(call(capsys, "predict", trained, tmp_path, "--json", "--top", "3"))
    assert [Path(entry["path"]).name for entry in entries] == ["empty.jpg", "good.png"]
    assert entries[0]["error"] == "empty file"
    assert sum(p["probability"] for p in entries[1]["predictions"]) == pytest.approx(1.0, abs=1e-3)


def test_awkward_files_never_crash_predict(
    trained: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = json.loads(call(capsys, "predict", trained, shared_data / "awkward", "--json"))
    outcome = {Path(e["path"]).name: "predictions" in e for e in entries}
    assert outcome["cmyk.jpg"]
    assert outcome["progressive.jpg"]
    assert not outcome["bomb-20000x14000.jpg"]
    assert not outcome["claims-65535x65535.jpg"]
    assert not outcome["text-named-jpg.jpg"]


@pytest.mark.parametrize("pixels", ["host", "stream"])
def test_awkward_files_never_crash_train(
    new_image_folder: Callable[..., Path],
    shared_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    pixels: str,
) -> None:
    """Every awkward file is either among the training images or named, wherever pixels live."""
    folder = new_image_folder()
    awkward = sorted((shared_data / "awkward").iterdir())
    for path in awkward:
        shutil.copy(path, folder / "train" / "red")
    arguments = ["--set", f"data.pixels={pixels}", "--epochs", "1"]
    call(capsys, "train", folder, "--out", tmp_path / "run", *TINY, *arguments)
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    skipped = {Path(key).name for key, _ in data["skipped"]}
    assert "bomb-20000x14000.jpg" in skipped
    assert "cmyk.jpg" not in skipped
    assert data["train_images"] + len(skipped) == 60 + len(awkward)


def test_prepare_then_train_then_measure(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A prepared set in place of its source: the same images, and the same names of classes."""
    out, run = tmp_path / "set", tmp_path / "run"
    arguments = ["--size", "72", "--encoding", "raw", "--workers", "2", "--json"]
    made = json.loads(call(capsys, "prepare", image_folder, out, *arguments))
    assert made.keys() >= {"out", "images", "classes", "skipped", "images_per_second"}
    assert (made["images"], made["classes"]) == (90, 3)
    described = json.loads(call(capsys, "info", out, "--json"))
    assert [c["name"] for c in described["classes"]] == ["blue", "green", "red"]
    assert "90 images" in call(capsys, "info", out, "--verify")
    shard = next(out.glob("train*.arrow"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    assert "its checksum differs" in complaint(capsys, "info", out, "--verify")
    shard.write_bytes(whole)
    call(capsys, "train", out, "--out", run, *TINY, "--steps", "4")
    prepared = json.loads(call(capsys, "eval", run, out, "--json"))
    folder = json.loads(call(capsys, "eval", run, image_folder, "--json"))
    assert prepared["images"] == folder["images"] == 30
    assert prepared["loss"] == folder["loss"]


def test_the_real_program_measures_data(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "alexnet", "bench", "data", "--peers", "--json"]
    line += ["--only", "batches"]
    count = ["--count", "24", "--rounds", "1", "--out", str(tmp_path)]
    rows = json.loads(subprocess.run([*line, *count], check=True, capture_output=True).stdout)
    names = {row["name"] for row in rows}
    assert names >= {"data/prepared-to-batch", "data/pillow-dataloader"}
    assert all(row["value"] > 0 for row in rows if row["unit"] == "images/s")
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".md"}


def test_python_names_do_what_the_verbs_do(trained: Path, image_folder: Path) -> None:
    measured = alexnet.evaluate(trained, image_folder)
    assert measured.images == 30
    model = alexnet.load(trained)
    assert model.classes == ("blue", "green", "red")
    (prediction,) = alexnet.Predictor(trained)(image_folder / "val" / "blue" / "000.png", top=1)
    assert prediction.classes[0][0] in model.classes


def test_a_configuration_makes_the_same_run_again(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again"
    call(capsys, "train", "--config", trained / "config.json", "--out", again)
    first, second = (json.loads((r / "result.json").read_text()) for r in (trained, again))
    assert first["loss"] == second["loss"]
    assert (trained / "config.json").read_text() == (again / "config.json").read_text()


def test_dry_run_prints_the_configuration_and_makes_nothing(
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    document = json.loads(call(capsys, "train", image_folder, "--lr", "0.5", "--dry-run"))
    assert document["optimizer"]["lr"] == 0.5
    assert list(tmp_path.iterdir()) == []


def test_dry_run_of_a_resumption_trains_nothing(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(trained / "config.json", run)
    said = call(capsys, "train", "--resume", run, "--dry-run")
    assert said == (trained / "config.json").read_text()
    assert [path.name for path in run.iterdir()] == ["config.json"]


def test_a_finished_run_that_was_moved_says_where_it_is(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = shutil.copytree(trained, tmp_path / "moved")
    assert json.loads(call(capsys, "train", "--resume", moved, "--json"))["run"] == str(moved)


@pytest.mark.parametrize("changes", [("data.size=40",), ("data.size=65", "data.pixels=device-yuv")])
def test_a_setting_that_cannot_be_leaves_no_run_behind(
    changes: tuple[str, ...],
    image_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Or the mended command would find it, and could neither begin nor go on."""
    out = tmp_path / "run"
    wrong = [word for change in changes for word in ("--set", change)]
    complaint(capsys, "train", image_folder, "--out", out, *TINY, *wrong)
    assert not out.exists()
    call(capsys, "train", image_folder, "--out", out, *TINY, "--steps", "1")


@pytest.mark.parametrize(
    ("file", "damage", "hint"),
    [
        ("metrics.jsonl", lambda text: text.replace("\n", "\n\0\0\n", 1), "line 2 of"),
        ("findings.jsonl", lambda text: '{"name": \n', "line 1 of"),
        ("data.json", lambda text: text[:-20], "data.json is damaged"),
        ("forms.json", lambda text: text[:-5], "forms.json is damaged"),
        ("config.json", lambda text: text.replace("0.03125", "0.0625"), "in its config.json"),
        ("config.json", lambda text: text.replace('"2012"', '"adamw"'), "in its config.json"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(
    file: str,
    damage: Callable[[str], str],
    hint: str,
    unfinished: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = unfinished / file
    path.write_text(damage(path.read_text() if path.exists() else ""))
    assert hint in complaint(capsys, "train", "--resume", unfinished)


def test_a_damaged_result_is_named(unfinished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (unfinished / "result.json").write_text("{")
    assert "result.json is damaged" in complaint(capsys, "train", "--resume", unfinished)


def test_images_that_have_moved_are_missed_with_a_mend(
    unfinished: Path, image_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = unfinished / "config.json"
    config.write_text(config.read_text().replace(str(image_folder), "/no/longer/there"))
    for verb in (("train", "--resume"), ("doctor",)):
        assert "no longer in /no/longer/there; bring" in complaint(capsys, *verb, unfinished)


def test_best_weights_that_are_gone_are_written_anew(
    unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the next evaluation, though it may not be the best of the run."""
    (unfinished / "weights.safetensors").unlink()
    config = unfinished / "config.json"
    config.write_text(config.read_text().replace('"epochs": 2', '"epochs": 3'))
    call(capsys, "train", "--resume", unfinished)
    assert (unfinished / "weights.safetensors").exists()


@pytest.fixture
def unread() -> Iterator[IO[str]]:
    """A pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    file = os.fdopen(writer, "w")
    yield file
    with suppress(BrokenPipeError):
        file.close()


def program(*arguments: str, **streams: Any) -> tuple[int, str | None, str | None]:
    """The exit code of the real program and its two outputs, kept back as Python does for users."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    line = [sys.executable, "-m", "alexnet", *arguments]
    done = subprocess.run(line, env=environment, text=True, **pipes)
    return done.returncode, done.stdout, done.stderr


def test_a_closed_stderr_and_a_full_disk_behind_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert command(["trian"]) == 2
    monkeypatch.undo()
    with Path("/dev/full").open("w") as full:
        said = "alexnet: the output's disk is full; free some space\n"
        assert program("info", "paper", "--json", stdout=full) == (2, None, said)
        assert program("trian", stderr=full) == (2, "", None)
        assert program("trian", "--debug", stderr=full) == (2, "", None)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["info", "paper"]])
def test_output_that_nobody_reads_to_its_end_is_no_mistake(
    arguments: list[str], unread: IO[str]
) -> None:
    assert program(*arguments, stdout=unread) == (0, None, "")


def test_a_training_whose_log_nobody_reads_goes_on(
    image_folder: Path, tmp_path: Path, unread: IO[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(sys, "stderr", unread)
    assert command(["train", str(image_folder), "--out", str(run), *TINY, "--steps", "2"]) == 0
    assert sys.stderr is not unread  # something was said
    assert (run / "result.json").exists()


def test_an_interruption_that_nobody_hears_of(
    unread: IO[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(verbs, "invoke", interrupted)
    monkeypatch.setattr(sys, "stderr", unread)
    assert command(["info"]) == 130


def test_shells_can_complete_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_ALEXNET_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "alexnet tr")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert call(capsys) == "plain,train\n"


def test_a_home_is_found_where_the_shell_leaves_it(
    trained: Path,
    image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(trained.parent))
    assert f"{trained} exists already" in complaint(capsys, "train", "digits", "--out=~/run")
    config = (trained / "config.json").read_text()
    assert call(capsys, "train", "--resume=~/run", "--dry-run") == config
    tuned = json.loads(call(capsys, "train", "digits", "--init=~/run", "--dry-run"))
    assert tuned["train"]["init"] == str(trained)
    assert call(capsys, "info", "~/run") == call(capsys, "info", trained)
    assert call(capsys, "doctor", "~/run").startswith(f"run {trained}:")
    monkeypatch.setenv("HOME", str(image_folder))
    assert "lies among the images" in complaint(
        capsys, "train", "~", "--out", image_folder / "train" / "run"
    )


def test_a_budget_is_not_measured_anew_by_a_restart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    assert "--max-restarts 0" in complaint(capsys, "train", "digits", "--budget", "1h")


def test_default_run_directories_are_numbered(
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        call(capsys, "train", image_folder, *TINY, "--steps", "1")
    name = f"{image_folder.name}-default"
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {name, f"{name}-2"}


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "--ephocs", "3"], "--epochs"),
        (["train", "--recipe", "papr"], "did you mean 'paper'"),
        (["train", "--variant", "orignal"], "did you mean 'original'"),
        (["train", "--set", "optimizer.ler=1"], "did you mean 'optimizer.lr'"),
        (["train", "--set", "optimizer.lr"], "section.key=value"),
        (["train", "--lr", "-1"], "must be positive"),
        (["train", "--batch-size", "0"], "at least 1"),
        (["train", "no-such-folder"], "no-such-folder"),
        (["train", "digit"], "did you mean 'digits'"),
        (["train", ""], "DATA is empty"),
        (["train", "--set", "data.source="], "DATA is empty"),
        (["tune", ""], "DATA is empty"),
        (["train", "--resume", "run", "--budget", ""], "with its own configuration"),
        (["doctor", ""], "a path is empty"),
        (["info", ""], "a path is empty"),
        (["eval", "", "digits"], "a path is empty"),
        (["predict", "", "digits"], "a path is empty"),
        (["prepare", "", "somewhere"], "a path is empty"),
        (["bench", "--out", ""], "a path is empty"),
        (["tune", "digits", "--range", "--trials", "3"], "leave out --trials"),
        (["tune", "digits", "--range", "--storage", "sqlite:///study.db"], "--storage, --full"),
        (["bench", "train", "--images", "pictures"], "not depend on --images; leave it out"),
        (["bench", "infer", "--count", "8", "--only", "batches"], "not depend on --count, --only"),
        (["bench", "scaling", "--peers"], "`bench scaling` does not depend on --peers"),
        (["bench", "data", "--batch-size", "8"], "`bench data` does not depend on --batch-size"),
        (["bench", "scaling", "--variant", "papier"], "did you mean 'paper'"),
        (["bench", "scaling", "--variant", "cifar-18"], "for ImageNet only: paper, "),
        (["bench", "train", "--variant", "cifar-18"], "for ImageNet only: paper, "),
        (["plan", "--variant", "cifar-18"], "cifar-18 is for CIFAR-10"),
        (["plan", "--devices", "2", "--variant", "cifar-18"], "cifar-18 is for CIFAR-10"),
        (["eval", "digits"], "then the images"),
        (["train", "digits", "--set", "data.source=pictures"], "give one of them"),
        (["train", "--resume", "no-such-run"], "not a run"),
        (["train", "--resume", "runs/x", "--lr", "1"], "its own configuration"),
        (["train", "--config", "no-such-file.json"], "cannot read"),
        (["train", "--set", "model.image_size=30", "--recipe", "smoke"], "too small"),
        (["train", "--recipe", "smoke", "--set", "data.size=60"], "smaller than"),
        (["eval", "no-such-run", "digits"], "no run"),
        (["predict", "no-such-run", "x.jpg"], "no run"),
        (["info", "papier"], "did you mean 'paper'"),
        (["info", "paper", "--diff", "cafe"], "did you mean 'caffe'"),
    ],
)
def test_mistakes_end_in_one_line(
    arguments: list[str],
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert hint in complaint(capsys, *arguments)


@pytest.mark.parametrize(
    ("devices", "layout", "changes", "hint"),
    [
        (1, "columns", (), "add --devices N"),
        (2, "columns", ("--set", "model.columns=1"), "one column"),
        (3, "columns", (), "a multiple of 2 processes"),
        (2, "one", (), "cannot use 2 processes"),
    ],
)
def test_a_layout_that_cannot_be_is_said_before_anything_is_made(
    devices: int,
    layout: str,
    changes: tuple[str, ...],
    hint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    asked = ("--devices", devices, "--layout", layout, *changes)
    assert hint in complaint(capsys, "train", "digits", "--out", out, *asked)
    assert not out.exists()


def test_differences_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    different = json.loads(call(capsys, "info", "paper", "--diff", "caffe", "--json"))
    assert different["variants"] == ["paper", "caffe"]
    assert different["fields"]["normalization"][0] != different["fields"]["normalization"][1]
    same = json.loads(call(capsys, "info", "paper", "--diff", "paper", "--json"))
    assert same["fields"] == {}


def test_a_set_differs_from_no_variant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".prepare").mkdir()
    line = complaint(capsys, "info", tmp_path, "--diff", "paper")
    assert line.endswith("--diff compares variants and runs; " + f"{tmp_path} is a prepared set")
    line = complaint(capsys, "info", tmp_path, "--classes", "5")
    assert line.endswith(f"--classes is for variants; {tmp_path} is a prepared set")


@pytest.mark.parametrize("arguments", [["trian"], ["train", "--ephocs", "3"], ["info", "/dev/x"]])
def test_debug_shows_where_and_ends_as_without(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(arguments, debug=True) == command(arguments) == 2
    shown, _, line = capsys.readouterr().err.partition("alexnet: ")
    assert shown.startswith("Traceback")
    assert "Traceback" not in line


def test_five_classes_have_no_top_5_error(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = call(capsys, "train", "--resume", trained)
    assert "top-1 error" in printed
    assert "top-5" not in printed
    assert "top5_error" in json.loads(call(capsys, "train", "--resume", trained, "--json"))
    result = json.loads((trained / "result.json").read_text())
    assert "top-5 error" in errors_in_words(result, classes=6)


def test_an_unfinished_set_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set" / ".prepare").mkdir(parents=True)
    for arguments in ([], ["--verify"], ["--json"]):
        assert "is not finished" in complaint(capsys, "info", tmp_path / "set", *arguments)


def test_a_run_is_never_overwritten(
    trained: Path, image_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--resume" in complaint(capsys, "train", image_folder, "--out", trained, *TINY)


def test_unreadable_weights(
    trained: Path, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(trained, broken)
    (broken / "weights.safetensors").write_bytes(b"not weights")
    assert "cannot read the weights" in complaint(capsys, "eval", broken, image_folder)


def test_other_classes_than_the_network_has(
    trained: Path,
    new_image_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = new_image_folder(classes=("cyan", "green", "red"))
    line = complaint(capsys, "eval", trained, other)
    assert "'cyan'" in line
    assert "not trained on" in line


def test_fewer_classes_than_the_network_has_are_fine(
    trained: Path,
    new_image_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Labels follow the names, not their order in the folder."""
    other = new_image_folder(classes=("green", "red"))
    document = json.loads(call(capsys, "eval", trained, other, "--json"))
    assert document["images"] == 20


class TestBadFolders:
    """Data that cannot be used: one line that names what is wrong."""

    def test_empty(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert str(tmp_path) in complaint(capsys, "train", tmp_path, *TINY)

    def test_one_class(
        self, new_image_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        line = complaint(capsys, "train", new_image_folder(classes=("red",)), *TINY)
        assert "one class" in line

    def test_a_validation_class_that_train_lacks(
        self, new_image_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = new_image_folder()
        (folder / "val" / "red").rename(folder / "val" / "pink")
        assert "'pink'" in complaint(capsys, "train", folder, *TINY)

    def test_a_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "picture.jpg"
        file.write_bytes(b"x")
        assert "is a file" in complaint(capsys, "train", file, *TINY)

    def test_bad_files_are_named_and_left_out(
        self,
        new_image_folder: Callable[..., Path],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        folder = new_image_folder()
        (folder / "train" / "red" / "000.png").write_bytes(b"")
        good = (folder / "train" / "red" / "001.png").read_bytes()
        (folder / "train" / "red" / "002.png").write_bytes(good[: len(good) // 2])
        run = tmp_path / "run"
        assert command(list(map(str, ["train", folder, "--out", run, *TINY, "--steps", "1"]))) == 0
        told = capsys.readouterr().err
        assert "skipped train/red/000.png: empty file" in told
        assert "skipped train/red/002.png: truncated" in told
        assert json.loads((run / "data.json").read_text())["train_images"] == 58
        assert "000.png" in (run / "report.html").read_text()

    def test_a_class_of_bad_files_only(
        self,
        new_image_folder: Callable[..., Path],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        folder = new_image_folder()
        for path in (folder / "train" / "red").iterdir():
            path.write_bytes(b"")
        assert "'red'" in complaint(capsys, "train", folder, "--out", tmp_path / "run", *TINY)


def test_the_alarm_stops_a_rate_that_is_too_high(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*TINY, "--lr", "10", "--set", "train.alarm=true", "--epochs", "20"]
    line = complaint(capsys, "train", image_folder, "--out", tmp_path / "run", *arguments)
    assert "training stopped at step" in line
    assert "too high" in line


def test_help_is_fast() -> None:
    """Whole-process time; torch alone would take three times as long to import."""
    import time

    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "alexnet", "--help"], check=True, capture_output=True)
    assert time.perf_counter() - began < 1.5  # 0.1 s; the bound only catches an import of torch


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    ],
)
def test_memory_that_is_not_there_is_one_line(error: Exception) -> None:
    with pytest.raises(UserError, match="smaller --batch-size"), within_memory():
        raise error
    with pytest.raises(RuntimeError, match="shapes differ"), within_memory():
        raise RuntimeError("shapes differ")
