"""Every claim, at a scale that only shows that it hangs together."""

import json
import multiprocessing
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from alexnet.claims import execute
from alexnet.claims.catalog import CLAIMS
from alexnet.claims.claim import Claim, Run, Setting
from alexnet.claims.execute import directory, read_values, work
from alexnet.claims.reproduce import _check_same_images, _command, _common, _data, reproduce
from alexnet.claims.scales import SCALES
from alexnet.errors import InterruptedRunError, UserError
from alexnet.training import run as training_run
from alexnet.training.directory import _is_free

from broken_runs import digits, write_folder  # isort: skip
from runs import finish, send_when, start  # isort: skip


def test_every_claim_has_its_result_and_done_is_done(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test, not a fixture for several: on parallel workers each would do all of it again.

    Without the reports of the runs, which have tests of their own and would take most of the time.
    """
    monkeypatch.setattr(training_run, "write_run_report", lambda *arguments: None)
    few = str(write_folder(tmp_path / "few", *digits(160, 40)))
    reproduce("all", "smoke", tmp_path, few)
    for name, claim in CLAIMS.items():
        path = tmp_path / "results" / f"{name}_smoke.json"
        document = json.loads(path.read_text(encoding="utf-8"))
        assert document["complete"], name
        assert (document["paper"], document["logs"]) == (claim.paper, claim.logs)
        assert document["runs"], name
        measured = [q for q in document["quantities"] if q["mean"] is not None]
        assert measured, name
        assert all(0 <= q["mean"] <= 100 for q in measured if q["unit"] == "%")
        command = document["environment"]["command"]
        assert command.startswith(f"alexnet reproduce {name} --scale smoke")
        assert document["verdict"]
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("*")}
    capfd.readouterr()
    reproduce("depth", "smoke", tmp_path, few)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("*")} == before
    assert "begins" not in capfd.readouterr().err
    (more,) = reproduce("ten-views", "smoke", tmp_path, few, seeds=2)
    described = json.loads(next((tmp_path / "runs").glob("*/environment.json")).read_text())
    for key in ("processor", "torch", "commit", "date"):  # of the runs, whoever writes the page
        assert more["environment"][key] == described[key]
    assert [run["seed"] for run in more["runs"]] == [0, 1]
    assert more["environment"]["command"].endswith("--scale smoke --data few --seeds 2")


def test_same_command_goes_on_after_an_interruption(tmp_path: Path) -> None:
    command = ("reproduce", "dropout", "--scale", "smoke", "--out", tmp_path)
    process = start(*command)
    runs = tmp_path / "runs"
    first = directory(runs, CLAIMS["dropout"].plan(Setting(SCALES["smoke"], "digits"), {})[0])
    send_when(process, signal.SIGTERM, first / "config.json")
    assert process.exitcode == 130
    assert finish(*command) == 0
    assert json.loads((tmp_path / "results" / "dropout_smoke.json").read_text())["complete"]


def test_two_at_once_find_what_one_after_the_other_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_run, "write_run_report", lambda *arguments: None)
    few = str(write_folder(tmp_path / "few", *digits(160, 40)))
    documents = [
        reproduce("dropout", "smoke", tmp_path / str(jobs), few, jobs=jobs)[0] for jobs in (1, 2)
    ]
    for document in documents:
        for run in document["runs"]:
            del run["images_per_second"]
    assert documents[0]["runs"] == documents[1]["runs"]
    assert documents[0]["quantities"] == documents[1]["quantities"]


def test_a_run_that_the_system_kills_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = execute.wait

    def kill_one(sentinels: list[Any]) -> list[Any]:
        multiprocessing.active_children()[0].kill()
        return wait(sentinels)

    monkeypatch.setattr(execute, "wait", kill_one)
    setting = Setting(SCALES["smoke"], "digits")
    with pytest.raises(UserError, match=r"the run .* was killed.*fewer --jobs goes on"):
        work(CLAIMS["dropout"], setting, tmp_path, 2, lambda *known: None)
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems leave orphans")
def test_runs_do_not_outlive_the_command(tmp_path: Path) -> None:
    process = start("reproduce", "dropout", "--scale", "smoke", "--jobs", "2", "--out", tmp_path)
    while not (begun := list((tmp_path / "runs").glob("*/data.json"))):
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    end = time.monotonic() + 60
    while not _is_free(begun[0].parent):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert not (begun[0].parent / "result.json").exists()  # it has not gone on to its end


def test_enough_ends_a_run_and_keeps_it(tmp_path: Path) -> None:
    """A run of Figure 1 that reaches its goal is cut short; its metrics and values remain."""
    setting = Setting(SCALES["smoke"], "digits")
    run = CLAIMS["relu"].plan(setting, {})[0]
    easy = type(run)(run.arm, run.seed, run.config, run.measure, lambda place: True)
    execute._complete(tmp_path, easy)
    values = read_values(tmp_path, run)
    assert values is not None
    assert values["epochs"] < 1
    assert not (directory(tmp_path, run) / "result.json").exists()


def test_a_stop_that_nobody_wanted_is_passed_on(tmp_path: Path) -> None:
    def interrupted(*arguments: object) -> None:
        raise InterruptedRunError("stopped")

    run = CLAIMS["depth"].plan(Setting(SCALES["smoke"], "digits"), {})[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "resume", interrupted)
        with pytest.raises(InterruptedRunError):
            execute._complete(tmp_path, run)
    assert read_values(tmp_path, run) is None


def test_other_images_of_the_same_name_are_refused(tmp_path: Path) -> None:
    a, b = (
        write_folder(tmp_path / place / "few", *digits(images, 40))
        for place, images in (("a", 160), ("b", 170))
    )
    _check_same_images(tmp_path, str(a))
    _check_same_images(tmp_path, str(shutil.copytree(a, tmp_path / "c" / "few")))
    with pytest.raises(UserError, match="not those of the same name"):
        _check_same_images(tmp_path, str(b))
    _check_same_images(tmp_path / "elsewhere", str(b))


def test_all_gives_photographs_to_the_claims_about_photographs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = str(write_folder(tmp_path / "few", *digits(160, 40)))
    asked: list[tuple[str, str]] = []

    def note(claim: Claim, setting: Setting, out: Path, jobs: int) -> dict[str, object]:
        asked.append((claim.data, Path(setting.data).name))
        return {}

    monkeypatch.setattr("alexnet.claims.reproduce._reproduce", note)
    reproduce("all", "cpu", tmp_path, few)
    assert set(asked) == {("photographs", "few"), ("cifar10", "cifar10")}
    reproduce("relu", "cpu", tmp_path, few)
    assert asked[-1] == ("cifar10", "few")


@pytest.mark.parametrize(("data", "option"), [("digits", " --data digits"), ("/a/b", " --data b")])
def test_the_command_names_the_data(data: str, option: str) -> None:
    assert _command(CLAIMS["depth"], Setting(SCALES["cpu"], data)).endswith(f"cpu{option}")
    smoke = _command(CLAIMS["depth"], Setting(SCALES["smoke"], data))
    assert smoke.endswith("smoke" + ("" if data == "digits" else option))


def test_moved_data_are_found_where_they_are_now(tmp_path: Path) -> None:
    def run(data: str) -> Run:
        return CLAIMS["depth"].plan(Setting(SCALES["smoke"], data), {})[0]

    old, new = run("/old/few"), run(str(write_folder(tmp_path / "few", *digits(160, 40))))
    place = directory(tmp_path, old)
    assert directory(tmp_path, new) == place
    place.mkdir()
    (place / "config.json").write_text(old.config.to_json())
    execute._complete(tmp_path, new)
    assert read_values(tmp_path, new) is not None


def test_one_description_of_several_environments() -> None:
    environments = [{"cores": 2, "commit": "b"}, {"cores": 2, "commit": "a", "date": "1"}]
    assert _common(environments) == {"cores": 2, "commit": "a, b", "date": "1"}


@pytest.mark.parametrize(("name", "scale", "message"), [
    ("rely", "smoke", "did you mean 'relu'|known"),
    ("depth", "cpu", "--data FOLDER"),
    ("tables", "full", "needs ILSVRC"),
])  # fmt: skip
def test_what_the_user_can_mend(tmp_path: Path, name: str, scale: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        reproduce(name, scale, tmp_path)


def test_data_are_named_as_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _data(CLAIMS["ten-views"], "smoke", "~/few") == str(tmp_path / "few")
    with pytest.raises(UserError, match="a path is empty"):
        _data(CLAIMS["ten-views"], "smoke", "")


def test_nothing_is_written_among_the_images(tmp_path: Path) -> None:
    images = write_folder(tmp_path / "few", *digits(160, 40))
    before = sorted(images.rglob("*"))
    with pytest.raises(UserError, match="lies among the images"):
        reproduce("ten-views", "smoke", images / "train" / "claims", str(images))
    assert sorted(images.rglob("*")) == before


def test_damaged_notes_are_named(tmp_path: Path, image_folder: Path) -> None:
    claim = CLAIMS["depth"]
    for run in claim.plan(Setting(SCALES["smoke"], "digits"), {}):
        path = execute._note(tmp_path / "runs", run)
        path.parent.mkdir(parents=True)
        path.write_text('{"top1_error": ')
    with pytest.raises(UserError, match=r"last_errors\.json is damaged"):
        reproduce("depth", "smoke", tmp_path, "digits")
    (tmp_path / "data.json").write_text("")
    with pytest.raises(UserError, match=r"data\.json is damaged"):
        _check_same_images(tmp_path, str(image_folder))


def test_a_run_that_cannot_be_done_names_itself(tmp_path: Path) -> None:
    claim: Claim = CLAIMS["depth"]
    setting = Setting(SCALES["smoke"], str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="nothing"):
        work(claim, setting, tmp_path / "runs", 1, lambda *known: None)
