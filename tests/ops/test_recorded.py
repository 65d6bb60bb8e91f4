"""Where operations are recorded, faked or transformed, stages are torch's own operations."""

import io
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from alexnet import AlexNet
from alexnet.model.changes import resized
from alexnet.model.variants import VARIANTS
from alexnet.ops import Stage, gpu, local_response_norm, run_stage
from alexnet.ops.eager import is_eager

TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # our C, blocked passes


class Stages(nn.Module):
    """Normalisation alone, and a whole stage."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, 8, H, W) -> (N, 8, H', W')."""
        return run_stage(local_response_norm(x, columns=2), Stage(size=5, columns=2, window=3))


def some(dtype: torch.dtype, seed: int = 0) -> Tensor:
    noise = torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(seed))
    return (30 * noise).to(dtype)


@TYPES
def test_a_trace_can_be_saved_and_computes(dtype: torch.dtype) -> None:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        torch.jit.save(torch.jit.trace(Stages(), (some(dtype),)), file)  # type: ignore[no-untyped-call]
        file.seek(0)
        traced = torch.jit.load(file)  # type: ignore[no-untyped-call]
        answer = traced(some(dtype, 1))
    torch.testing.assert_close(answer, Stages()(some(dtype, 1)), rtol=1e-5, atol=1e-5)


def test_the_older_onnx_export_is_no_constant() -> None:
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Stages(), (some(torch.float32),), file, dynamo=False, input_names=["x"])
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    x = some(torch.float32, 1)
    (answer,) = session.run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(answer), Stages()(x), rtol=1e-5, atol=1e-4)


@TYPES
def test_fake_tensors_have_shapes_alone(dtype: torch.dtype) -> None:
    with FakeTensorMode() as mode:
        faked = mode.from_tensor(some(dtype))
        assert Stages()(faked).shape == (2, 8, 4, 4)
    assert Stages()(faked).shape == (2, 8, 4, 4)  # also where the mode has ended


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@TYPES
def test_transforms_go_through(dtype: torch.dtype, layout: torch.memory_format) -> None:
    x, stages = some(dtype).contiguous(memory_format=layout), Stages()
    expected = stages(x)
    each = torch.func.vmap(lambda image: stages(image[None])[0])(x)
    torch.testing.assert_close(each, expected, rtol=1e-5, atol=1e-5)
    z = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(stages(z).sum(), z)
    found = torch.func.grad(lambda x: stages(x).sum())(x)
    torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-5)
    along = torch.ones_like(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own jvp uses its deprecated torch.jit
        _, change = torch.func.jvp(lambda x: stages(x).sum(), (x,), (along,))
    torch.testing.assert_close(change, gradient.sum(), rtol=1e-4, atol=1e-3)


def test_a_network_can_be_transformed() -> None:
    """Over images as the feed gives them, and over the weights of several networks at once."""
    models = [AlexNet(resized(VARIANTS["paper"], 0.03125), 3, seed=seed).eval() for seed in (0, 1)]
    models = [model.to(memory_format=torch.channels_last) for model in models]
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last)
    expected = torch.stack([model(images) for model in models])
    weights, buffers = torch.func.stack_module_state(models)  # type: ignore[arg-type]

    def answer(weights: Any, buffers: Any) -> Any:
        return torch.func.functional_call(models[0], (weights, buffers), (images,))

    together = torch.func.vmap(answer)(weights, buffers)
    torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-4)
    apart = torch.func.vmap(lambda image: models[0](image[None])[0])(images)
    torch.testing.assert_close(apart, expected[0], rtol=1e-4, atol=1e-4)


@TYPES
def test_forward_differentiation_is_the_backward_one(dtype: torch.dtype) -> None:
    stages = Stages()
    x = some(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    (gradient,) = torch.autograd.grad(stages(x).sum(), x)
    with forward_ad.dual_level(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch loads its deprecated torch.jit
        dual = forward_ad.make_dual(x.detach(), torch.ones_like(x))
        tangent = forward_ad.unpack_dual(stages(dual).sum()).tangent
    torch.testing.assert_close(tangent, gradient.sum(), rtol=1e-4, atol=1e-3)


def test_a_dispatch_mode_sees_every_operation() -> None:
    graph = make_fx(lambda x: local_response_norm(x))(some(torch.float32))
    called = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert any("pow" in name for name in called)


def test_what_is_eager() -> None:
    x = some(torch.float32)
    assert is_eager(x)
    assert is_eager(nn.Parameter(x))

    class Other(Tensor):
        pass

    assert not is_eager(x.as_subclass(Other))


def test_a_gpu_uses_no_kernel_of_ours_in_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_serves", lambda device: True)

    class OnGpu:
        is_cuda, device = True, torch.device("cuda", 0)

    x: Any = OnGpu()
    for eager in (True, False):
        monkeypatch.setattr(gpu, "is_eager", lambda x, eager=eager: eager)
        assert gpu.runs_triton(x) is eager
