"""What runs in other programs or processes: ONNX Runtime, memory, the first step, compilers."""

import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alexnet.bench import best, onnx_runtime, peak, start
from alexnet.bench.best import compiled, compiled_step
from alexnet.bench.onnx_runtime import session, with_onnx_normalization
from alexnet.bench.peak import Peak, bench_memory
from alexnet.bench.start import first_step
from alexnet.errors import UserError
from alexnet.model.changes import resized
from alexnet.model.network import AlexNet
from alexnet.model.variants import VARIANTS
from alexnet.parallel.world import World, make_world


def test_both_exports_answer_as_the_network_does() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    narrow = resized(VARIANTS["paper"], 1 / 16)
    model = AlexNet(narrow, 10, image_size=224).eval()
    with torch.no_grad():
        for layer in (model.conv1, model.conv2):
            layer.weight.mul_(8.0)  # so that normalisation matters
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 224, 224), dtype=np.uint8)
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
    for network in (model, with_onnx_normalization(model)):
        (answered,) = session(network, 2).run(None, {"images": images})
        np.testing.assert_allclose(answered, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())


def test_without_onnx_a_line_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnx_runtime, "_PACKAGES", ("no_such_package",))
    model = AlexNet(resized(VARIANTS["paper"], 1 / 16), 10)
    assert onnx_runtime.onnx_runtime(model, make_world("cpu", "fp32"), 1) is None
    assert "pip install 'alexnet[onnx]'" in capsys.readouterr().err


@pytest.mark.parametrize("failure", ["drags", "fails"])
def test_a_compiler_that_drags_or_fails_is_left_out(
    failure: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(line: list[str], **options: Any) -> None:
        if failure == "drags":
            raise subprocess.TimeoutExpired(line, options["timeout"])
        raise subprocess.CalledProcessError(1, line, stderr=b"Traceback\nNo C++ compiler")

    monkeypatch.setattr(best.subprocess, "run", run)
    assert compiled("train", make_world("cpu", "fp32"), 1) is None
    said = capsys.readouterr().err
    assert said.startswith("train/one-tower-compiled is left out")
    assert ("more than" if failure == "drags" else "No C++ compiler") in said


def test_whoever_compiles_ahead_measures_kernels_as_the_peers_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """cuDNN on and choosing by measurement, or the compiler's cache would hold another network."""
    found: list[tuple[bool, bool]] = []

    def compiled_step(what: str, world: World, batch_size: int) -> Callable[[], None]:
        cudnn = torch.backends.cudnn
        return lambda: found.append((cudnn.enabled, cudnn.benchmark))

    monkeypatch.setattr(best, "compiled_step", compiled_step)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    best._try_to_compile("train", "1", "cuda", "bf16")
    assert found == [(True, True)]


def test_memory_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def measure(network: str, batch_size: int, world: World) -> Peak:
        asked.append((network, world.precision))
        return Peak(300 if network == "stock" else 150, 7)

    monkeypatch.setattr(peak, "training_peak", measure)
    ours, stock = bench_memory("paper", True, World(0, 1, torch.device("cpu"), "bf16"))
    assert (ours.name, ours.value, ours.unit) == ("memory/paper", 150, "bytes")
    assert ours.ratios == {"memory/stock": 0.5}
    assert stock.value == 300
    assert asked == [("paper", "bf16"), ("stock", "fp32")]


def test_the_first_step_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_LIMIT", 3600.0)  # a machine busy with other tests may be slow
    world = make_world("cpu", "fp32")
    seconds = first_step(tmp_path / "run", "paper", 2, world, dict(os.environ))
    assert seconds > 0.5
    assert (tmp_path / "run" / "metrics.jsonl").read_text()


def test_a_command_that_ends_before_the_first_step_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "false")
    with pytest.raises(UserError, match="the first step was not reached"):
        first_step(tmp_path / "run", "paper", 2, make_world("cpu", "fp32"), dict(os.environ))


@pytest.mark.parametrize("what", ["train", "infer"])
def test_a_compiled_step_steps(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a compiler that only traces, because the real one takes a minute."""
    monkeypatch.setattr(
        best,
        "one_tower",
        lambda: torch.nn.Sequential(torch.nn.Conv2d(3, 5, 224), torch.nn.Flatten()),
    )
    monkeypatch.setattr(best.torch, "compile", partial(torch.compile, backend="eager"))
    monkeypatch.setattr(best, "training_step", partial(best.training_step, num_classes=5))
    compiled_step(what, make_world("cpu", "fp32"), 1)()


@pytest.mark.parametrize("network", ["paper", "stock"])
def test_both_peaks_are_of_the_second_step_in_one_setting(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first step tries and forgets does not count."""
    done: list[str] = []

    def restart(device: torch.device) -> int:
        done.append("restart")
        return 5

    monkeypatch.setattr(peak, "_ours", lambda *given: lambda: done.append("step"))
    monkeypatch.setattr(peak, "stock_step", lambda *given: lambda: done.append("step"))
    monkeypatch.setattr(peak, "our_network", lambda *given: None)
    monkeypatch.setattr(peak, "training_step", lambda *given, **options: lambda: None)
    monkeypatch.setattr(peak, "_restart", restart)
    monkeypatch.setattr(peak, "_highest", lambda device: 12)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    peak._main(network, "1", "cuda", "fp32", "1")
    assert done == ["restart", "step", "restart", "step"]
    assert torch.backends.cudnn.benchmark
