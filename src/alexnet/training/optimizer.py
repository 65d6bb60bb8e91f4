"""The update rule of 2012 (paper, section 5; authors' weights.cu), and torch's own beside it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.sgd import sgd

from alexnet.config import OptimizerConfig
from alexnet.ops.narrow import allow_narrow_gradient, momentum_update
from alexnet.parallel.parts import Part, parts_of, wholes
from alexnet.parallel.world import sum_over
from alexnet.training.schedule import Rates


class Momentum2012(torch.optim.Optimizer):
    """v <- 0.9 v - 0.0005 lr w - lr dL/dw;  w <- w + v.

    The learning rate is inside the velocity, so that after a drop the old velocity coasts on at
    its old size. torch keeps u = -v / lr instead, which a drop would shrink at once. The two agree
    if the decay of u is corrected by the change of rate, momentum * lr_before / lr: then torch's
    fused kernel computes the rule of 2012 in one pass over the memory.

    Parameter groups with a rate of 0 are skipped altogether, without decay or coasting, as a layer
    with epsW = 0 is in the authors' code. Here they lose their velocity, too.

    The first call of a method of torch's optimisers loads its compiler, which takes as long as
    loading torch itself. Nothing is compiled here, so what a training needs of them is written out.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float) -> None:
        self.momentum = momentum
        super().__init__(groups, {"lr": lr, "momentum": momentum})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take parameters on, with settings of their own or those of all."""
        self.param_groups.append({**self.defaults, **param_group})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; none is kept as zeros."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def set_rate(self, group: dict[str, Any], lr: float) -> None:
        """Give a group the rate of the next step, correcting the velocity for the change."""
        before = group.get("lr_of_velocity", lr)
        group["lr"] = lr
        group["momentum"] = self.momentum * (before / lr if lr and before else 1.0)
        group["lr_of_velocity"] = lr

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update; groups with a rate of 0 are left out and lose their velocity."""
        assert closure is None, "the gradients are to be there"
        for group in self.param_groups:
            for parameter in group["params"]:
                if group["lr"] == 0.0:
                    # 2012 (D10): the old velocity was kept, unused.
                    self.state.pop(parameter, None)
                    parameter.grad = None
                elif parameter.grad is not None and parameter.grad.dtype != parameter.dtype:
                    self._update_narrow(parameter, group)
                elif parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        """By torch's kernel, which makes the buffer of a first step."""
        assert parameter.grad is not None
        buffers = [self.state[parameter].get("momentum_buffer")] if group["momentum"] else []
        sgd(
            [parameter],
            [parameter.grad],
            buffers,
            fused=True,
            lr=group["lr"],
            momentum=group["momentum"],
            weight_decay=group["weight_decay"],
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        if buffers:
            self.state[parameter]["momentum_buffer"] = buffers[0]

    def _update_narrow(self, parameter: Tensor, group: dict[str, Any]) -> None:
        """The same update by our own C, which takes bfloat16 gradients; the gradient is used up."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        factors = (group["lr"], group["momentum"], group["weight_decay"])
        momentum_update(parameter, state["momentum_buffer"], parameter.grad, *factors)
        parameter.grad = None

    def velocity(self, parameter: Tensor) -> Tensor:
        """The paper's v of a parameter, shaped like it."""
        group = next(g for g in self.param_groups if any(p is parameter for p in g["params"]))
        buffer = self.state.get(parameter, {}).get("momentum_buffer")
        return torch.zeros_like(parameter) if buffer is None else -group["lr_of_velocity"] * buffer


class Lars(Momentum2012):
    """Layer-wise adaptive rates: each parameter's rate is in proportion to its own size.

    You, Gitman and Ginsburg (2017). Three formulas go by the name; "scale" is that of the solver
    that made the records (intel/caffe, sgd_solver.cpp, local_lr_auto),

        lr * eta |w| / (|g| + decay |w|)

    for weights and biases alike, and 1 in place of the fraction where a norm is 0. "clip" is
    NVIDIA's LARC (NVIDIA/caffe, sgd_solver.cpp): min(lr, (1 - momentum) eta |w| / |g|). The rate
    is inside the velocity, as in 2012. Norms are those of whole parameters, whatever the layout.

    Args:
        groups, lr, momentum: as for `Momentum2012`; each group's `weight_decay` is taken over.
        eta: the trust coefficient.
        rule: scale or clip.
        model_group: the processes that hold the other parts of the parameters.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float,
        momentum: float,
        eta: float,
        rule: str,
        model_group: dist.ProcessGroup | None,
    ) -> None:
        # The decay is applied here, inside the adapted rate.
        groups = [
            {**group, "decay": group["weight_decay"], "weight_decay": 0.0} for group in groups
        ]
        super().__init__(groups, lr, momentum)
        self._eta, self._rule, self._model_group = eta, rule, model_group

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update; nothing is read back from the device."""
        updated = [group for group in self.param_groups if group["params"][0].grad is not None]
        for group, (weight_norm, gradient_norm) in zip(updated, self._norms(updated), strict=True):
            (parameter,) = group["params"]
            if group["lr"]:
                factor = self._factor(group, weight_norm, gradient_norm)
                parameter.grad.add_(parameter, alpha=group["decay"]).mul_(factor)
        super().step(closure)

    def _factor(self, group: dict[str, Any], weight_norm: Tensor, gradient_norm: Tensor) -> Tensor:
        """What this parameter's rate is of the general one, a scalar on the device."""
        if self._rule == "clip":
            trust = (1.0 - self.momentum) * self._eta * weight_norm / gradient_norm / group["lr"]
            trust = trust.clamp(max=1.0)
        else:
            trust = self._eta * weight_norm / (gradient_norm + group["decay"] * weight_norm)
        return torch.where((weight_norm > 0) & (gradient_norm > 0), trust, 1.0)

    def _norms(self, groups: list[dict[str, Any]]) -> list[tuple[Tensor, Tensor]]:
        """Norms of each group's whole parameter and its gradient."""
        names = list(dict.fromkeys(_name(group) for group in groups))
        squares = torch.zeros(len(names), 2, device=groups[0]["params"][0].device)
        for group in groups:
            (parameter,) = group["params"]
            norms = torch._foreach_norm([parameter, parameter.grad])
            squares[names.index(_name(group))] += torch.stack(norms).square()
        if self._model_group is not None:
            held_alike = [i for i, name in enumerate(names) if self._is_whole(name)]
            mine = squares[held_alike].clone()
            sum_over(squares, self._model_group)
            squares[held_alike] = mine
        rows = squares.sqrt()
        return [(row[0], row[1]) for row in (rows[names.index(_name(g))] for g in groups)]

    def _is_whole(self, name: str) -> bool:
        part: Part = next(g["part"] for g in self.param_groups if _name(g) == name)
        return part.is_whole


def build_optimizer(
    network: nn.Module | Sequence[Part],
    config: OptimizerConfig,
    model_group: dist.ProcessGroup | None = None,
) -> torch.optim.Optimizer:
    """The configured optimiser, one parameter group for each part of a weight or bias.

    Biases never decay with kind "2012" or "lars", as in the authors' code (layer.cu, line 565),
    nor with "adamw"; plain "sgd" decays everything, as torch does.

    Args:
        network: a network on one device, or the parts that this process holds.
        config: kind and constants.
        model_group: the processes that hold the other parts.
    """
    parts = parts_of(network) if isinstance(network, nn.Module) else network
    decays = defaultdict(lambda: config.weight_decay, config.layer_decays)
    groups: list[dict[str, Any]] = [
        {
            "params": [part.parameter],
            "part": part,
            "layer": part.layer,
            "is_bias": part.is_bias,
            "weight_decay": 0.0 if part.is_bias and config.kind != "sgd" else decays[part.layer],
        }
        for part in parts
    ]
    if config.kind == "2012":
        return Momentum2012(groups, config.lr, config.momentum)
    if config.kind == "lars":
        return Lars(
            groups, config.lr, config.momentum, config.lars_eta, config.lars_rule, model_group
        )
    if config.kind == "sgd":
        return torch.optim.SGD(groups, config.lr, config.momentum, fused=True)
    return torch.optim.AdamW(groups, config.lr, betas=(config.momentum, 0.999), fused=True)


def allow_narrow_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Let gradients of fully connected weights stay as bfloat16 products give them.

    For training in which every gradient is used as it comes: in one pass, in one process. Does
    nothing with another rule than that of 2012, or where there is no way (`ops.narrow`).
    """
    if type(optimizer) is Momentum2012:
        for group in optimizer.param_groups:
            if group["layer"].startswith("fc") and not group["is_bias"]:
                allow_narrow_gradient(group["params"][0])


def set_rates(optimizer: torch.optim.Optimizer, rates: Rates) -> None:
    """Give every parameter group its rate for the next step."""
    for group in optimizer.param_groups:
        rate = rates.of(group["layer"], group["is_bias"])
        if isinstance(optimizer, Momentum2012):
            optimizer.set_rate(group, rate)
        else:
            group["lr"] = rate


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, model_group: dist.ProcessGroup | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Everything the optimiser remembers: (`layer.weight|bias.what`, whole tensor).

    All processes of the group must go through it together.
    """
    for key in _remembered(optimizer):
        shaped = [
            (group["part"], f"{_name(group)}.{key}", optimizer.state[parameter][key])
            for group in optimizer.param_groups
            for parameter in group["params"]
            if optimizer.state.get(parameter, {}).get(key) is not None
        ]
        if shaped and shaped[0][2].ndim == 0:  # a count, the same for all parts
            yield from {name: value for _, name, value in shaped}.items()
        else:
            yield from wholes(shaped, model_group)
    rates = {
        f"{_name(group)}.lr_of_velocity": torch.tensor(group["lr_of_velocity"], dtype=torch.float64)
        for group in optimizer.param_groups
        if "lr_of_velocity" in group
    }
    yield from rates.items()


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give back what `optimizer_tensors` took, to each part its own.

    Raises:
        KeyError: another kind of optimiser left it.
    """
    adaptive = isinstance(optimizer, torch.optim.AdamW)
    expected = {"step", "exp_avg", "exp_avg_sq"} if adaptive else {"momentum_buffer"}
    for group in optimizer.param_groups:
        part: Part = group["part"]
        prefix = part.name + "."
        state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        rate = state.pop("lr_of_velocity", None)
        if rate is not None:
            group["lr_of_velocity"] = float(rate)
        (parameter,) = group["params"]
        if state:
            if state.keys() != expected:
                raise KeyError(f"{prefix}{min(state)} of another kind of optimizer")
            optimizer.state[parameter] = {
                key: _laid_out_like(parameter, part.of(value))
                if value.ndim
                else value.to(parameter.device)
                for key, value in state.items()
            }


def _remembered(optimizer: torch.optim.Optimizer) -> list[str]:
    """The names of what the optimiser keeps for a parameter."""
    kept = (optimizer.state.get(p, {}) for g in optimizer.param_groups for p in g["params"])
    return sorted({key for state in kept for key in state})


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """The value with the parameter's device and strides.

    torch's fused kernels walk memory in order and never compare strides: a velocity in another
    memory format than its weights would be added to the wrong weights, silently.
    """
    return torch.empty_like(parameter).copy_(value)


def _name(group: dict[str, Any]) -> str:
    part: Part = group["part"]
    return part.name
