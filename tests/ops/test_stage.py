"""ReLU, normalisation and pooling in one pass, against float64 and torch's own operations."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from alexnet.native import build
from alexnet.ops import Stage, local_response_norm, native_stage, run_stage, run_stage_by_parts
from alexnet.ops.native_stage import is_native_for

_FORMATS = (torch.contiguous_format, torch.channels_last)
_EPSILON = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-9}

needs_compiler = pytest.mark.skipif(
    build.library("stage", threads=True) is None, reason="no C compiler here"
)


def _oracle(x: Tensor, stage: Stage) -> Tensor:
    """In float64, normalisation as an explicit sum over the window's maps."""
    a = x.double()
    if stage.relu:
        a = a.clamp_min(0.0)
    if stage.size:
        width = a.shape[1] // stage.columns
        maps = []
        for i in range(a.shape[1]):
            column = i // width
            first = max(column * width, i - stage.size // 2)
            last = min((column + 1) * width - 1, i + stage.size // 2)
            total = sum(a[:, j] ** 2 for j in range(first, last + 1))
            maps.append(a[:, i] / (stage.k + stage.alpha * total) ** stage.beta)
        a = torch.stack(maps, 1)
    if stage.window:
        a = F.max_pool2d(a, stage.window, stage.stride, ceil_mode=stage.ceil_mode)
    return a


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a.detach().double() - b.detach()).norm() / b.detach().norm().clamp_min(1e-30))


@needs_compiler
@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(3, 9), st.integers(3, 9)),
    columns=st.sampled_from([1, 2, 3]),
    relu=st.booleans(),
    size=st.sampled_from([0, 1, 3, 5, 9]),
    window=st.sampled_from([0, 2, 3]),
    ceil_mode=st.booleans(),
    beta=st.sampled_from([0.75, 0.5, 1.3]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    memory_format=st.sampled_from(_FORMATS),
    seed=st.integers(0, 2**31),
)
def test_values_and_gradients_are_those_of_float64(
    shape: tuple[int, ...],
    columns: int,
    relu: bool,
    size: int,
    window: int,
    ceil_mode: bool,
    beta: float,
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    seed: int,
) -> None:
    stage = Stage(relu, size, 1e-3, beta, 2.0, columns, window, 2, ceil_mode)
    generator = torch.Generator().manual_seed(seed)
    n, c, h, w = shape
    values = 30 * torch.randn(n, c * columns, h, w, generator=generator)
    x = values.to(dtype).to(memory_format=memory_format).detach().requires_grad_()
    assert is_native_for(x, window)
    y = run_stage(x, stage)
    wide = x.detach().double().requires_grad_()
    expected = _oracle(wide, stage)
    assert y.shape == expected.shape
    assert y.is_contiguous(memory_format=memory_format)
    gradient = torch.randn(y.shape, generator=generator).to(dtype)
    y.backward(gradient)
    expected.backward(gradient.double())
    assert x.grad is not None
    assert wide.grad is not None
    bound = 20 * _EPSILON[dtype]
    assert _distance(y, expected) < bound
    assert _distance(x.grad, wide.grad) < bound


@needs_compiler
@pytest.mark.parametrize("memory_format", _FORMATS)
def test_the_stages_of_the_network_at_their_size(memory_format: torch.memory_format) -> None:
    for channels, side in ((96, 55), (256, 27)):
        stage = Stage(size=5, columns=2, window=3)
        x = 50 * torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(1))
        x = x.to(memory_format=memory_format)
        assert _distance(run_stage(x, stage), _oracle(x, stage)) < 1e-6


@needs_compiler
def test_equal_activations_let_the_first_win_and_nan_wins_as_in_torch() -> None:
    x = torch.zeros(1, 2, 5, 5)
    x[0, 1, 1, 1] = math.nan
    mine, torchs = (x.clone().requires_grad_() for _ in range(2))
    y = run_stage(mine, Stage(relu=False, window=3))
    z = F.max_pool2d(torchs, 3, 2, ceil_mode=True)
    assert torch.equal(y.isnan(), z.isnan())
    y.sum().backward()
    z.sum().backward()
    assert mine.grad is not None
    assert torchs.grad is not None
    assert torch.equal(mine.grad, torchs.grad)


@needs_compiler
@pytest.mark.parametrize("images", [1, 3, 16])
def test_bands_and_threads_change_no_bit(images: int) -> None:
    stage = Stage(size=5, columns=2, window=3)
    x = 20 * torch.randn(images, 8, 23, 11, generator=torch.Generator().manual_seed(2))
    x = x.to(memory_format=torch.channels_last).detach().requires_grad_()
    threads = torch.get_num_threads()
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        y = run_stage(x, stage)
        (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
        results.append((y.detach(), gradient))
    torch.set_num_threads(threads)
    for y, gradient in results[1:]:
        assert torch.equal(y, results[0][0])
        assert torch.equal(gradient, results[0][1])


@needs_compiler
def test_a_gradient_in_another_memory_format_is_understood() -> None:
    x = torch.randn(2, 6, 4, 5).to(memory_format=torch.channels_last).detach().requires_grad_()
    y = local_response_norm(x, 5)
    gradient = torch.randn(2, 6, 4, 5)
    (mine,) = torch.autograd.grad(y, x, gradient)
    (same,) = torch.autograd.grad(
        local_response_norm(x, 5), x, gradient.to(memory_format=torch.channels_last)
    )
    assert torch.equal(mine, same)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_no_stage_is_refused_on_every_way(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="size must be odd"):
        Stage(size=4)
    with pytest.raises((ValueError, RuntimeError)):
        run_stage(torch.zeros(1, 2, 5, 2, dtype=dtype), Stage(window=3, stride=1))


def test_types_without_a_compiled_loop_go_part_by_part() -> None:
    stage = Stage(size=5, columns=2, window=3)
    x = torch.randn(2, 8, 9, 9, dtype=torch.float64)
    assert not is_native_for(x, 3)
    assert _distance(run_stage(x, stage), _oracle(x, stage)) < 1e-13
    assert _distance(run_stage_by_parts(x, stage), _oracle(x, stage)) < 1e-13


def test_without_a_compiler_the_values_are_the_same_and_it_is_said_once(tmp_path: Path) -> None:
    code = """
import torch
from alexnet.ops import Stage, local_response_norm, run_stage
x = torch.arange(2 * 8 * 7 * 7.0).reshape(2, 8, 7, 7) % 50 - 20
a, b = run_stage(x, Stage(size=5, columns=2, window=3)), local_response_norm(x)
torch.save((a, b), "PATH")
""".replace("PATH", str(tmp_path / "out.pt"))
    environment = {**os.environ, "ALEXNET_CACHE": str(tmp_path / "cache"), "CC": "", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr.count("no C compiler; install gcc or clang") == 1
    assert done.stderr.count("\n") == 1
    pooled, normalised = torch.load(tmp_path / "out.pt")
    x = torch.arange(2 * 8 * 7 * 7.0).reshape(2, 8, 7, 7) % 50 - 20
    assert torch.allclose(run_stage(x, Stage(size=5, columns=2, window=3)), pooled, rtol=1e-6)
    assert torch.allclose(local_response_norm(x), normalised, rtol=1e-6)


@needs_compiler
@pytest.mark.parametrize("function", ["stage_forward", "stage_backward"])
def test_missing_memory_is_an_error(function: str) -> None:
    x = torch.ones(2, 8, 4, 4)
    described = native_stage._describe(x, Stage(size=5))
    described.size = 2**58  # buffers have room for the window, and none of this size can be had
    with pytest.raises(MemoryError):
        native_stage._call(function, described, x, x, None, x)


@needs_compiler
def test_a_library_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path))
    build._loaded.cache_clear()
    try:
        assert build.library("stage", threads=True) is not None
        (built,) = tmp_path.glob("*.so")
        when = built.stat().st_mtime_ns
        build._loaded.cache_clear()
        assert build.library("stage", threads=True) is not None
        assert built.stat().st_mtime_ns == when
    finally:
        build._loaded.cache_clear()
