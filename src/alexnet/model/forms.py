"""Which form of each convolution is fastest here: measured once, checked, remembered.

The measurement is also the self-test: released versions of torch have had bfloat16 convolutions
that give wrong results on some processors, so every form is compared with float32 before it is
used.
"""

import json
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from alexnet.errors import UserError
from alexnet.files import CannotWriteError, cache_folder, write_text
from alexnet.model.build import Network
from alexnet.model.catalog import layer_table
from alexnet.model.network import Convolution
from alexnet.ops.convolution import convolution, forms
from alexnet.progress import say

_IMAGES = {"cpu": 2, "cuda": 256}
_ROUNDS = 3
_WORTH = 0.95  # another form must take less than this share of the plain one's time
# Relative to the norm: rounding of inputs and products, with room for the order of summation.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 2.0**-6}  # float32 may mean TF32 on a GPU


@dataclass(frozen=True)
class _Case:
    """One convolution with everything that its speed depends on."""

    inputs: tuple[int, ...]  # C, H, W
    weight: tuple[int, ...]
    stride: int
    padding: int
    groups: int
    first: bool  # no gradient of the images is wanted

    def key(self, dtype: torch.dtype, device: torch.device) -> str:
        """The name under which its form is remembered."""
        where = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
        return f"{where}, torch {torch.__version__}, {dtype}, {self}"


def choose_forms(model: Network, dtype: torch.dtype) -> dict[str, str]:
    """The fastest right form of every convolution of the network, for training in `dtype`.

    Args:
        model: on its device.
        dtype: of the products, float32 or bfloat16.

    Raises:
        UserError: even the plain form is wrong in this type on this machine.
    """
    device = model.mean.device
    known = _remembered()
    chosen: dict[str, str] = {}
    news: dict[str, str] = {}
    for name, case in _cases(model).items():
        if len(forms(case.groups, case.stride, case.padding)) == 1:
            continue
        key = case.key(dtype, device)
        if key not in known:
            news[key] = _fastest(name, case, dtype, device)
        chosen[name] = (known | news)[key]
    if news:
        _remember(known | news)
    return chosen


def use_forms(model: Network, chosen: dict[str, str]) -> None:
    """Let the network's convolutions compute in these forms; the others stay as they are."""
    for name, form in chosen.items():
        layer = model.get_submodule(name)
        assert isinstance(layer, Convolution)
        layer.form = form


def _cases(model: Network) -> dict[str, _Case]:
    cases = {}
    side = model.variant.image_size
    inputs: tuple[int, ...] = (3, side, side)
    for row in layer_table(model.variant, model.num_classes):
        layer = model.get_submodule(row.name)
        if isinstance(layer, Convolution):
            extra = layer.overhang(inputs[1])
            padded = (inputs[0], inputs[1] + extra, inputs[2] + extra)
            weight = tuple(layer.weight.shape)
            stride, padding = int(layer.stride[0]), int(layer.padding[0])
            cases[row.name] = _Case(
                padded, weight, stride, padding, layer.groups, row.name == "conv1"
            )
        inputs = row.output
    return cases


def _candidates(case: _Case, device: torch.device) -> tuple[str, ...]:
    """The forms worth a measurement.

    On a processor that is the plain one: no other has been faster there, and a choice that follows
    the noise of a busy machine would give two runs of one seed different bits.
    """
    if device.type == "cpu":
        return ("plain",)
    return forms(case.groups, case.stride, case.padding)


def _fastest(name: str, case: _Case, dtype: torch.dtype, device: torch.device) -> str:
    generator = torch.Generator().manual_seed(0)
    shape = (_IMAGES[device.type], *case.inputs)
    x = torch.randn(shape, generator=generator).to(device)
    weight = torch.randn(case.weight, generator=generator).to(device)
    x, weight = (t.to(memory_format=torch.channels_last) for t in (x, weight))
    expected = _results(case, "plain", x[:2], weight, torch.float32)
    right = []
    for form in _candidates(case, device):
        wrong = _distance(_results(case, form, x[:2], weight, dtype), expected)
        if wrong <= _TOLERANCE[dtype]:
            right.append(form)
        elif form == "plain":
            raise UserError(
                f"{name} gives wrong results in {dtype} on this machine with torch "
                f"{torch.__version__} (relative error {wrong:.3g}); use --precision fp32"
            )
        else:
            say(f"{name}: the form {form} gives wrong results here ({wrong:.3g}) and is not used")
    if right == ["plain"]:
        return "plain"
    times = {form: _seconds(case, form, x, weight, dtype) for form in right}
    best = min(times, key=lambda form: times[form])
    return best if times[best] < _WORTH * times["plain"] else "plain"


def _results(case: _Case, form: str, x: Tensor, weight: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """The output and the gradients of one form."""
    x = x.to(dtype).detach().requires_grad_(not case.first)
    w = weight.to(dtype).detach().requires_grad_()
    y = convolution(x, w, w.new_zeros(len(w)), case.stride, case.padding, case.groups, form)
    generator = torch.Generator().manual_seed(1)
    gradient = torch.randn(y.shape, generator=generator).to(y)
    wanted = [w] if case.first else [x, w]
    return [y.detach(), *torch.autograd.grad(y, wanted, gradient)]


def _distance(results: list[Tensor], expected: list[Tensor]) -> float:
    """The largest relative error of a result; infinite where one is no number."""
    errors = [
        float((a.float() - b).norm() / b.norm()) for a, b in zip(results, expected, strict=True)
    ]
    return max(error if error == error else float("inf") for error in errors)


def _seconds(case: _Case, form: str, x: Tensor, weight: Tensor, dtype: torch.dtype) -> float:
    """The shortest of a few times of a forward and backward pass."""
    times = []
    for _ in range(_ROUNDS):
        _synchronize(x.device)
        began = time.perf_counter()
        _results(case, form, x, weight, dtype)
        _synchronize(x.device)
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _processor() -> str:
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{capability}, {torch.get_num_threads()} threads"


def _remembered() -> dict[str, str]:
    try:
        found = json.loads((cache_folder() / "forms.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _remember(known: dict[str, str]) -> None:
    try:
        cache_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        write_text(cache_folder() / "forms.json", json.dumps(known, indent=2) + "\n")
    except (OSError, CannotWriteError) as error:
        say(f"the fastest forms cannot be remembered ({error}); they are measured again next time")
