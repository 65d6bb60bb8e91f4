"""The stock translation in a process of its own: plain, obedient, and honest about its end."""

import os
import time

import pytest

from alexnet.bench import plain
from alexnet.bench.plain import PlainStep, plain_environment
from alexnet.errors import UserError
from alexnet.process import SETTINGS, set_up_process


def test_nothing_of_what_we_set_up_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    before = dict(os.environ)
    set_up_process()
    assert os.environ.keys() - before.keys() == SETTINGS.keys()
    assert plain_environment() == before


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    set_up_process()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "7"
    assert "GOMP_SPINCOUNT" not in os.environ


def test_it_does_a_step_when_it_is_told_to_and_ends_in_a_line() -> None:
    step = PlainStep("infer", 1)
    step()  # imports torch, makes the network
    began = time.perf_counter()
    step()
    assert time.perf_counter() - began < 30.0
    with pytest.raises(UserError, match="has ended"):
        PlainStep("infer", -1)()


def test_the_worker_answers_every_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[int] = []
    monkeypatch.setattr(plain, "stock_translation", lambda: plain.torch.nn.Identity())
    monkeypatch.setattr(plain, "training_step", lambda *given, **named: lambda: done.append(1))
    monkeypatch.setattr(plain.sys, "stdin", ["\n", "\n", "\n"])
    plain._work("train", "2")
    assert len(done) == 3
    assert capsys.readouterr().out == "\n\n\n"
