"""The peer for inference: our own network exported to ONNX and run by ONNX Runtime, in float32."""

import copy
import importlib.util
import logging
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.bench.best import Way, fastest
from alexnet.bench.turns import synthetic_batch
from alexnet.model.network import AlexNet
from alexnet.model.normalization import LocalResponseNorm
from alexnet.parallel.world import World
from alexnet.progress import say

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def onnx_runtime(model: AlexNet, world: World, batch_size: int) -> Way | None:
    """Answers by ONNX Runtime in its fastest way; None, and a line said, where it is missing.

    Two exports are compared: normalisation as the exporter writes it out, and as ONNX's own
    operator.
    """
    provider = _provider(world)
    if provider is None:
        return None
    began = time.perf_counter()
    ways = (
        partial(_way, network, words, world, batch_size, provider)
        for words, network in (
            ("normalisation written out", model),
            ("ONNX's own normalisation", with_onnx_normalization(model)),
        )
    )
    chosen = fastest(ways, world)
    say(f"ONNX export for batches of {batch_size}: {time.perf_counter() - began:.0f} s")
    return chosen


def _way(network: AlexNet, words: str, world: World, batch_size: int, provider: str) -> Way:
    images = synthetic_batch(batch_size, torch.device("cpu"), network.variant.image_size)[0]
    step = _step(session(network, batch_size, provider), world, images.contiguous().numpy())
    return Way(step, "fp32", f"{provider}, {words}", network.variant)


def session(model: AlexNet, batch_size: int, provider: str = "CPUExecutionProvider") -> Any:
    """An ONNX Runtime session of a network on bytes, with as many threads as torch uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(exported(model, batch_size), options, providers=[provider])


def exported(model: AlexNet, batch_size: int) -> bytes:
    """The network in evaluation mode as an ONNX file: `images` uint8 to `logits`."""
    side = model.variant.image_size
    images = torch.zeros(batch_size, 3, side, side, dtype=torch.uint8)
    on_cpu = copy.deepcopy(model).cpu().eval()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of packages that nobody asked for
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                on_cpu,
                (images,),
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=["logits"],
            )
    finally:
        logger.setLevel(level)
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


def with_onnx_normalization(model: AlexNet) -> AlexNet:
    """The same network, its normalisation ready for export as ONNX's own operator."""
    network = copy.deepcopy(model)
    for name, stage in list(network.named_children()):
        if isinstance(stage, LocalResponseNorm):
            setattr(network, name, _OnnxNormalization(stage))
    return network


class _OnnxNormalization(nn.Module):
    """ONNX's LRN, which divides alpha by the size, for each column."""

    def __init__(self, stage: LocalResponseNorm) -> None:
        super().__init__()
        c = stage.constants
        alpha = c.alpha if c.divide_alpha else c.alpha * c.size
        self.columns = stage.columns
        self.attributes: dict[str, Any] = {
            "alpha": alpha,
            "beta": c.beta,
            "bias": c.k,
            "size": c.size,
        }

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same, when exported; the trace itself computes nothing."""
        return torch.cat(
            [
                torch.onnx.ops.symbolic(
                    "LRN", [part], self.attributes, dtype=part.dtype, shape=part.shape, version=13
                )
                for part in x.chunk(self.columns, dim=1)
            ],
            dim=1,
        )


def _provider(world: World) -> str | None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        say(
            f"ONNX Runtime is left out: pip install 'alexnet[onnx]' (missing: {', '.join(missing)})"
        )
        return None
    import onnxruntime

    wanted = "CUDAExecutionProvider" if world.device.type == "cuda" else "CPUExecutionProvider"
    if wanted not in onnxruntime.get_available_providers():
        say(f"ONNX Runtime is left out: this build of it has no {wanted}")
        return None
    return wanted


def _step(network: Any, world: World, images: Any) -> Callable[[], object]:
    """A call that leaves its inputs and answers on the device."""
    if world.device.type == "cpu":
        return lambda: network.run(None, {"images": images})
    import onnxruntime

    binding = network.io_binding()
    placed = onnxruntime.OrtValue.ortvalue_from_numpy(images, "cuda", 0)
    binding.bind_ortvalue_input("images", placed)
    binding.bind_output("logits", "cuda", 0)
    return lambda: network.run_with_iobinding(binding)
