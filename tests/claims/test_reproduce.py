"""Every claim, at a scale that only shows that it hangs together."""

import json
import signal
from pathlib import Path

import pytest

from alexnet.claims import execute
from alexnet.claims.catalog import CLAIMS
from alexnet.claims.claim import Claim, Setting
from alexnet.claims.execute import directory, read_values, work
from alexnet.claims.reproduce import reproduce
from alexnet.claims.scales import SCALES
from alexnet.errors import InterruptedRunError, UserError

from runs import finish, send_when, start  # isort: skip


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("claims")
    reproduce("all", "smoke", out)
    return out


def test_every_claim_has_its_result(everything: Path) -> None:
    for name, claim in CLAIMS.items():
        path = everything / "results" / f"{name}_smoke.json"
        document = json.loads(path.read_text(encoding="utf-8"))
        assert document["complete"], name
        assert (document["paper"], document["logs"]) == (claim.paper, claim.logs)
        assert document["runs"], name
        measured = [q for q in document["quantities"] if q["mean"] is not None]
        # Figure 1's goal may be out of reach in six steps; everything else measures something.
        assert measured or name == "relu", name
        assert all(0 <= q["mean"] <= 100 for q in measured if q["unit"] == "%")
        assert document["environment"]["command"].startswith(
            f"alexnet reproduce {name} --scale smoke"
        )
        assert document["verdict"]


def test_done_is_done(everything: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in (everything / "runs").rglob("*")}
    reproduce("depth", "smoke", everything)
    assert {p: p.stat().st_mtime_ns for p in (everything / "runs").rglob("*")} == before
    assert "begins" not in capfd.readouterr().err


def test_same_command_goes_on_after_an_interruption(tmp_path: Path) -> None:
    command = ("reproduce", "dropout", "--scale", "smoke", "--out", tmp_path)
    process = start(*command)
    runs = tmp_path / "runs"
    first = directory(runs, CLAIMS["dropout"].plan(Setting(SCALES["smoke"], "digits"), {})[0])
    send_when(process, signal.SIGTERM, first / "config.json")
    assert process.exitcode == 130
    assert finish(*command) == 0
    assert json.loads((tmp_path / "results" / "dropout_smoke.json").read_text())["complete"]


def test_two_at_once_find_what_one_after_the_other_finds(everything: Path, tmp_path: Path) -> None:
    (document,) = reproduce("dropout", "smoke", tmp_path, jobs=2)
    alone = json.loads((everything / "results" / "dropout_smoke.json").read_text(encoding="utf-8"))
    for run in (*document["runs"], *alone["runs"]):
        del run["images_per_second"]
    assert document["runs"] == alone["runs"]
    assert document["quantities"] == alone["quantities"]


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


@pytest.mark.parametrize(("name", "scale", "message"), [
    ("rely", "smoke", "did you mean 'relu'|known"),
    ("depth", "cpu", "--data FOLDER"),
    ("tables", "full", "needs ILSVRC"),
])  # fmt: skip
def test_what_the_user_can_mend(tmp_path: Path, name: str, scale: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        reproduce(name, scale, tmp_path)


def test_a_run_that_cannot_be_done_names_itself(tmp_path: Path) -> None:
    claim: Claim = CLAIMS["depth"]
    setting = Setting(SCALES["smoke"], str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="nothing"):
        work(claim, setting, tmp_path / "runs", 1, lambda measured: None)
