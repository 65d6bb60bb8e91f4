"""Which form of each convolution is fastest here: measured once, checked, remembered.

Before that a self-test: released versions of torch have had bfloat16 convolutions that give wrong
results on some processors, so every form of every convolution, also the only one, is compared with
the processor's float32, which no TF32 rounds, before it is used.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from alexnet.errors import UserError
from alexnet.files import CannotWriteError, cache_folder, write_text
from alexnet.model.build import Network
from alexnet.model.catalog import layer_table
from alexnet.model.network import Convolution
from alexnet.native.build import processor
from alexnet.ops.convolution import convolution, forms
from alexnet.progress import say

_IMAGES = 2  # that are drawn, and that forms are checked with
_COPIES = 128  # of them on a GPU, where a few images would take no time
_ROUNDS, _PASSES = 3, 5  # the shortest of so many rounds of so many passes counts
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
        key = case.key(dtype, device)
        if key not in known:
            news[key] = _fastest(name, case, dtype, device)
        chosen[name] = (known | news)[key]
    if news:
        _remember(known | news)
    return chosen


def use_forms(model: Network, chosen: dict[str, str]) -> None:
    """Let the network's convolutions compute in these forms; the others stay as they are.

    A form that a convolution does not have is passed over: the choice may have been made under
    another layout, which cuts convolutions otherwise.
    """
    for name, case in _cases(model).items():
        if chosen.get(name) in forms(case.groups, case.stride, case.padding):
            layer = model.get_submodule(name)
            assert isinstance(layer, Convolution)
            layer.form = chosen[name]


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
    drawn = _draw(case)
    placed = drawn.to(device, dtype)
    right = _right_forms(name, case, drawn, placed)
    if right == ["plain"]:
        return "plain"
    many = placed.repeated(_COPIES if device.type == "cuda" else 1)
    times = {form: _seconds(case, form, many) for form in right}
    best = min(times, key=lambda form: times[form])
    return best if times[best] < _WORTH * times["plain"] else "plain"


def _right_forms(name: str, case: _Case, drawn: "_Pass", placed: "_Pass") -> list[str]:
    """The candidates whose results are those of float32 on the processor.

    Raises:
        UserError: the plain one is not among them.
    """
    dtype = placed.x.dtype
    expected = drawn.results(case, "plain")
    right = []
    for form in _candidates(case, placed.x.device):
        wrong = _distance(placed.results(case, form), expected)
        if wrong <= _TOLERANCE[dtype]:
            right.append(form)
        elif form == "plain":
            raise UserError(
                f"{name} gives wrong results in {dtype} on this machine with torch "
                f"{torch.__version__} (relative error {wrong:.3g}); use --precision fp32"
            )
        else:
            say(f"{name}: the form {form} gives wrong results here ({wrong:.3g}) and is not used")
    return right


@dataclass(frozen=True)
class _Pass:
    """What goes through a convolution forwards and backwards; maps are channels-last."""

    x: Tensor  # (N, C, H, W)
    weight: Tensor  # (K, C / groups, R, R)
    gradient: Tensor  # (N, K, H', W')

    def to(self, device: torch.device, dtype: torch.dtype) -> "_Pass":
        """The same on a device, in a type."""
        return _Pass(*(t.to(device, dtype) for t in (self.x, self.weight, self.gradient)))

    def repeated(self, count: int) -> "_Pass":
        """With so many times the images."""
        x, gradient = (
            t.repeat(count, 1, 1, 1).to(memory_format=torch.channels_last)
            for t in (self.x, self.gradient)
        )
        return _Pass(x, self.weight, gradient)

    def results(self, case: _Case, form: str) -> list[Tensor]:
        """The output and the gradients of one form."""
        with torch.enable_grad():
            x = self.x.detach().requires_grad_(not case.first)
            w = self.weight.detach().requires_grad_()
            bias = w.new_zeros(len(w))
            y = convolution(x, w, bias, case.stride, case.padding, case.groups, form)
            wanted = [w] if case.first else [x, w]
            return [y.detach(), *torch.autograd.grad(y, wanted, self.gradient)]


def _draw(case: _Case) -> _Pass:
    """Normal noise, in float32 on the processor."""
    generator = torch.Generator().manual_seed(0)
    kernel = case.weight[-1]
    sides = [(side + 2 * case.padding - kernel) // case.stride + 1 for side in case.inputs[1:]]
    shapes = ((_IMAGES, *case.inputs), case.weight, (_IMAGES, case.weight[0], *sides))
    return _Pass(
        *(
            torch.randn(shape, generator=generator).to(memory_format=torch.channels_last)
            for shape in shapes
        )
    )


def _distance(results: list[Tensor], expected: list[Tensor]) -> float:
    """The largest relative error of a result; infinite where one is no number."""
    errors = [
        float((a.cpu().float() - b).norm() / b.norm())
        for a, b in zip(results, expected, strict=True)
    ]
    return max(error if error == error else float("inf") for error in errors)


def _seconds(case: _Case, form: str, passed: _Pass) -> float:
    """Of a forward and backward pass: the shortest of a few measurements, after one pass."""
    passed.results(case, form)  # chooses kernels, allocates

    def passes() -> None:
        for _ in range(_PASSES):
            passed.results(case, form)

    return min(_time(passes, passed.x.device) for _ in range(_ROUNDS)) / _PASSES


def _time(work: Callable[[], None], device: torch.device) -> float:
    """Seconds of some work, on a GPU by its own clock."""
    if device.type != "cuda":
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    begin, end = (
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(2)
    )
    begin.record()
    work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1000.0


def _processor() -> str:
    capability = torch.backends.cpu.get_cpu_capability()
    make = hashlib.sha256(processor().encode()).hexdigest()[:8]
    return f"{capability} of {make}, {torch.get_num_threads()} threads"


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
