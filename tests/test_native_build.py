"""Compiled libraries: built once, whoever asks, and done without where they cannot be."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from alexnet.files import CannotWriteError
from alexnet.native import build


@pytest.fixture
def nothing_loaded():
    build._loaded.cache_clear()
    yield
    build._loaded.cache_clear()


def ask_from_threads(count: int) -> list[object]:
    together = Barrier(count)

    def ask(_: int) -> object:
        together.wait(10)
        return build.library("scans")

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(ask, range(count)))


@pytest.mark.skipif(build.library("scans") is None, reason="no C compiler here")
@pytest.mark.usefixtures("nothing_loaded")
def test_one_of_many_threads_compiles(tmp_path, monkeypatch):
    compiled = []

    def count_and_compile(compiler: str, flags: object, source: Path, target: Path) -> None:
        compiled.append(target)
        real(compiler, flags, source, target)

    real = build._compile
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "_compile", count_and_compile)
    libraries = ask_from_threads(4)
    assert len(compiled) == 1
    assert len(set(map(id, libraries))) == 1


@pytest.mark.usefixtures("nothing_loaded")
def test_what_is_missing_is_said_once(monkeypatch, capsys):
    def refuse(*arguments: object) -> None:
        time.sleep(0.02)  # as a compiler that fails, so that all ask before the answer
        raise CannotWriteError("cannot write x: the disk is full")

    monkeypatch.setattr(build, "_built", refuse)
    assert ask_from_threads(4) == [None] * 4
    assert capsys.readouterr().err.count("without compiled loops for scans") == 1
