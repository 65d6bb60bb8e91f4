"""ReLU, normalisation and pooling in one kernel, against float64 composition of plain torch.

The kernels run on a GPU where there is one, and otherwise in Triton's interpreter on the CPU.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.ops import Stage, gpu, local_response_norm_reference, lrn_fused, run_stage
from alexnet.ops.lrn_fused import fused_relu_norm_pool

pytest.importorskip("triton")
HAS_GPU = torch.cuda.is_available()
DEVICE = "cuda" if HAS_GPU else "cpu"
# Unit roundoff of the storage. The interpreter cuts bfloat16 off instead of rounding it.
ROUNDING = {
    torch.float32: 1e-6,
    torch.float16: 2**-11,
    torch.bfloat16: 2**-8 if HAS_GPU else 2**-7,
}


@pytest.fixture(scope="module", autouse=True)
def kernels() -> Iterator[Any]:
    """Import the kernels; whether they are interpreted is decided at that moment."""
    with pytest.MonkeyPatch.context() as patch:
        if not HAS_GPU:
            patch.setenv("TRITON_INTERPRET", "1")
        from alexnet.ops import lrn_triton

        yield lrn_triton


def noise(*shape: int, seed: int = 0, std: float = 50.0) -> Tensor:
    return std * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def composed(
    x: Tensor,
    relu: bool,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    columns: int,
    window: int = 1,
    stride: int = 1,
    ceil_mode: bool = True,
) -> Tensor:
    """The oracle: three operations of torch, nothing fused."""
    x = F.relu(x) if relu else x
    x = local_response_norm_reference(x, size, alpha, beta, k, columns=columns)
    return F.max_pool2d(x, window, stride, ceil_mode=ceil_mode)


def check(x: Tensor, *constants: Any, rounding: float | None = None) -> None:
    """Values and gradients within what the storage type rounds."""
    rounding = ROUNDING[x.dtype] if rounding is None else rounding
    mine, exact = x.detach().to(DEVICE).requires_grad_(), x.detach().double().requires_grad_()
    y, expected = fused_relu_norm_pool(mine, *constants), composed(exact, *constants)
    assert y.dtype == x.dtype
    assert y.is_contiguous(memory_format=lrn_fused._memory_format(x))
    torch.testing.assert_close(y.double().cpu(), expected, rtol=rounding, atol=1e-30)
    gradient = noise(*expected.shape, seed=1, std=1.0).to(x.dtype)
    y.backward(gradient.to(DEVICE))
    expected.backward(gradient.double())
    assert mine.grad is not None
    assert exact.grad is not None
    # Two terms of the gradient may cancel, so the error is relative to a typical gradient.
    scale = exact.grad.abs().mean().item()
    torch.testing.assert_close(
        mine.grad.double().cpu(), exact.grad, rtol=rounding, atol=1e-5 * scale
    )


@pytest.mark.parametrize(
    ("dtype", "memory_format"),
    [
        (torch.float32, torch.channels_last),
        (torch.float32, torch.contiguous_format),
        (torch.bfloat16, torch.channels_last),
        (torch.float16, torch.contiguous_format),
    ],
)
def test_is_the_composition(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    """The paper's stage on an odd and an even side; 16 maps a column are two groups of a thread."""
    x = noise(1, 32, 6, 5).to(dtype).to(memory_format=memory_format)
    check(x, True, 5, 1e-4, 0.75, 2.0, 2, 3, 2)


@pytest.mark.parametrize(
    ("maps", "memory_format", "constants"),
    [
        (14, torch.channels_last, (True, 5, 1e-3, 0.75, 2.0, 2, 2, 2)),  # groups of one of 7 maps
        (12, torch.contiguous_format, (False, 7, 1e-3, 0.5, 1.0, 3, 3, 2)),  # wider than a column
        (4, torch.channels_last, (True, 1, 1e-3, 1.0, 0.3, 1, 3, 1)),  # windows overlap by two
        (4, torch.contiguous_format, (False, 3, 2e-5, 0.75, 1.0, 1, 2, 3)),  # pixels in no window
        (4, torch.channels_last, (False, 5, 1e-4, 0.75, 2.0, 1)),  # no pooling
        (4, torch.contiguous_format, (True, 5, 1e-4, 0.75, 2.0, 1, 3, 2, False)),  # no overhang
    ],
)
def test_any_constants(
    maps: int, memory_format: torch.memory_format, constants: tuple[Any, ...]
) -> None:
    check(noise(1, maps, 6, 5).to(memory_format=memory_format), *constants)


def test_walking_down_strips_of_rows(kernels: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine pooled rows are a strip of seven and one of two; a window's last row is carried on."""
    monkeypatch.setattr(kernels, "_STRIP_ITEMS", 0)
    x = noise(1, 4, 19, 4).to(memory_format=torch.channels_last)
    check(x, True, 3, 1e-4, 0.75, 2.0, 1, 3, 2)


def test_impulse_does_not_cross_the_boundary_between_columns() -> None:
    x = noise(1, 16, 2, 2).to(DEVICE)
    with_impulse = x.clone()
    with_impulse[:, 8] += 1000.0
    constants = (False, 5, 1e-4, 0.75, 2.0, 2)
    before, after = (fused_relu_norm_pool(t, *constants) for t in (x, with_impulse))
    assert (before != after).any((0, 2, 3)).nonzero().flatten().tolist() == [8, 9, 10]


def winners_of(x: Tensor) -> tuple[list[Any], list[Any]]:
    """Pixels that receive the gradient of one 3x3 window per image: ours and torch's."""
    mine, torchs = x.clone().to(DEVICE).requires_grad_(), x.clone().requires_grad_()
    fused_relu_norm_pool(mine, False, 1, 0.0, 0.75, 1.0, 1, 3, 2).nansum().backward()
    F.max_pool2d(torchs, 3, 2, ceil_mode=True).nansum().backward()
    assert mine.grad is not None
    assert torchs.grad is not None
    return (mine.grad.cpu() != 0).nonzero().tolist(), (torchs.grad != 0).nonzero().tolist()


def test_ties_are_resolved_as_in_torch() -> None:
    """With alpha = 0 and k = 1 normalisation is the identity, and small integers tie."""
    ties = torch.randint(-2, 2, (4, 4, 5, 5), generator=torch.Generator().manual_seed(0)).float()
    mine, torchs = winners_of(ties)
    assert mine == torchs


def test_nan_passes_as_in_torch() -> None:
    x = noise(1, 4, 5, 5)
    x[0, 1, 2, 2], x[0, 2, 4, 4], x[0, 2, 0, 1] = (float("nan"),) * 3
    constants = (True, 3, 1e-4, 0.75, 2.0, 1, 3, 2)
    mine = fused_relu_norm_pool(x.to(DEVICE), *constants).cpu()
    torch.testing.assert_close(mine, composed(x, *constants), equal_nan=True, rtol=1e-5, atol=0.0)


def test_units_without_a_place_and_empty_batches() -> None:
    constants = (False, 5, 1e-4, 0.75, 2.0, 2)
    for shape in [(3, 12), (2, 12, 7)]:
        x = noise(*shape)
        y = fused_relu_norm_pool(x.to(DEVICE), *constants).cpu()
        torch.testing.assert_close(y, local_response_norm_reference(x, columns=2))
    empty = noise(0, 8, 4, 4).to(DEVICE).requires_grad_()
    fused_relu_norm_pool(empty, *constants, 3, 2).sum().backward()
    assert empty.grad is not None


def test_what_cannot_be_pooled_is_refused() -> None:
    for window, stride in [(17, 2), (0, 1), (2, 0)]:
        with pytest.raises(ValueError, match="1 to 16 pixels"):
            fused_relu_norm_pool(noise(1, 4, 4, 4), True, 5, 1e-4, 0.75, 2.0, 1, window, stride)


def test_the_operation_is_registered_completely() -> None:
    """Schema, fake tensors, autograd and what torch.compile traces, checked by torch itself."""
    x = noise(1, 4, 5, 5).to(DEVICE).to(memory_format=torch.channels_last).requires_grad_()
    arguments = (x, True, 3, 1e-4, 0.75, 2.0, 1, 3, 2, True, True)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(lrn_fused._forward, arguments, test_utils=tests)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_as_one_graph(backend: str) -> None:
    constants = (True, 3, 1e-4, 0.75, 2.0, 1, 3, 2)
    compiled = torch.compile(
        lambda x: 2.0 * fused_relu_norm_pool(x, *constants), backend=backend, fullgraph=True
    )
    x = noise(1, 4, 5, 5).to(DEVICE)
    mine, plain = x.clone().requires_grad_(), x.clone().requires_grad_()
    compiled(mine).sum().backward()
    (2.0 * composed(plain, *constants)).sum().backward()
    torch.testing.assert_close(mine.grad, plain.grad)


def test_shapes_follow_torch() -> None:
    """Formats and pooled sides of fake tensors, over many sizes."""
    with torch._subclasses.fake_tensor.FakeTensorMode():
        for side in range(3, 12):
            for window, stride in [(3, 2), (2, 2), (2, 3), (3, 1), (1, 1)]:
                for ceil_mode in (True, False):
                    x = torch.empty(2, 4, side, side + 1, device=DEVICE)
                    pooling = (window, stride, ceil_mode)
                    y = fused_relu_norm_pool(x, True, 5, 1e-4, 0.75, 2.0, 2, *pooling)
                    z = F.max_pool2d(x, window, stride, ceil_mode=ceil_mode)
                    assert y.shape == z.shape


def test_stages_use_the_kernel_where_it_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.ops.stage.way_of", lambda x, stage: "triton")
    x = noise(1, 4, 5, 5).to(DEVICE)
    for stage in (Stage(size=3, columns=2, window=3), Stage(size=3)):
        assert "alexnet" in str(run_stage(x.requires_grad_(), stage).grad_fn)
        constants = (True, 3, 1e-4, 0.75, 2.0, stage.columns)
        pooling = (stage.window, stage.stride) if stage.window else (1, 1)
        expected = composed(x.detach(), *constants, *pooling)
        torch.testing.assert_close(run_stage(x.detach(), stage), expected)


def test_a_stage_without_normalisation_uses_the_kernel_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after conv5: torch's values and gradients, ties and the far edge included."""
    monkeypatch.setattr("alexnet.ops.stage.way_of", lambda x, stage: "triton")
    x = noise(2, 4, 6, 6, std=2.0).round().to(DEVICE)  # small whole numbers are often equal
    mine, plain = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = run_stage(mine, Stage(columns=2, window=3))
    assert "alexnet" in str(y.grad_fn)
    expected = F.max_pool2d(F.relu(plain), 3, 2, ceil_mode=True)
    assert torch.equal(y, expected)
    weights = noise(*y.shape, seed=1).to(DEVICE)
    y.backward(weights)
    expected.backward(weights)
    torch.testing.assert_close(mine.grad, plain.grad)  # overlapping windows add up in another order


def test_no_image_in_makes_no_image_out() -> None:
    x = torch.empty(0, 12, 7, device=DEVICE, requires_grad=True)
    y = fused_relu_norm_pool(x, True, 5, 1e-4, 0.75, 2.0, 2)
    assert y.shape == x.shape
    y.sum().backward()
    assert x.grad is not None


def test_the_processor_never_asks_for_the_kernel() -> None:
    assert not lrn_fused.is_available(noise(1, 4, 5, 5))


def test_a_missing_triton_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "_TRITON", False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    gpu._serves.cache_clear()
    assert not any(gpu._serves(torch.device("cuda", 0)) for _ in range(3))
    gpu._serves.cache_clear()
    assert capsys.readouterr().err.count("\n") == 1


COMPILE = """
import re
import triton
from triton.backends.compiler import GPUTarget
from alexnet.ops import dropout_triton, lrn_kernels

stage = dict(
    CHANNELS_LAST=True, MAPS=96, COLUMN=48, GROUP=8, THREADS=128,
    RELU=True, SIZE=5, THREE_QUARTERS=True, WINDOW=3, STRIDE=2,
)

def assembly(kernel, **constants):
    names = kernel.arg_names
    types = {"winner_pointer": "*u8", "mask_pointer": "*u8", "key_pointer": "*i64"}
    types |= {name: "fp32" for name in ("alpha", "beta", "k")}
    types |= {name: "constexpr" for name in constants}
    signature = {
        name: types.get(name, "*bf16" if name.endswith("pointer") else "i32") for name in names
    }
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(names)
        if name.endswith("pointer") or name == "units"
    }
    values = {(names.index(name),): value for name, value in constants.items()}
    source = triton.compiler.ASTSource(kernel, signature, values, aligned)
    options = {"num_warps": 4, "enable_fp_fusion": True}
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert compiled.metadata.shared == 0, "threads exchange data"
    return compiled.asm["ptx"]

for ptx in (
    assembly(lrn_kernels.forward_kernel, KEEP_WINNERS=True, **stage),
    assembly(lrn_kernels.backward_kernel, **stage),
):
    assert re.search(r"ld.global[.\\w]*.v4.b32", ptx), "loads are narrow"
    assert re.search(r"st.global[.\\w]*.v4.b32", ptx), "stores are narrow"
    assert "cvt.rn.bf16" in ptx, "results are not rounded to nearest"
assert "st.global.v2.b32" in assembly(dropout_triton.mask_kernel, THREADS=128)
assembly(dropout_triton.mask_kernel, THREADS=128, layer=1)  # Triton makes a constant of every 1
"""


def test_kernels_compile_for_a_gpu(tmp_path: Path) -> None:
    """For Hopper, without one: 16 bytes a load, no data exchanged between threads."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    script = tmp_path / "compile_kernels.py"
    script.write_text(COMPILE)
    subprocess.run([sys.executable, str(script)], env=environment, check=True)


@pytest.mark.parametrize("maps", [96, 256])
@pytest.mark.gpu
@pytest.mark.skipif(not HAS_GPU, reason="needs a CUDA device")
def test_stages_of_the_network_on_a_gpu(maps: int) -> None:
    """Both stages as they are trained, with strips, and the same again in a CUDA graph."""
    side = {96: 55, 256: 27}[maps]
    x = noise(64, maps, side, side).bfloat16().to(memory_format=torch.channels_last)
    constants = (True, 5, 1e-4, 0.75, 2.0, 2, 3, 2)
    check(x, *constants)
    static = x.to(DEVICE)
    expected = fused_relu_norm_pool(static, *constants)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        replayed = fused_relu_norm_pool(static, *constants)
    graph.replay()
    assert torch.equal(replayed, expected)
