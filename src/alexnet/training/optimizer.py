"""The update rule of 2012 (paper, section 5; authors' weights.cu), and torch's own beside it."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.config import OptimizerConfig
from alexnet.training.schedule import Rates


class Momentum2012(torch.optim.SGD):
    """v <- 0.9 v - 0.0005 lr w - lr dL/dw;  w <- w + v.

    The learning rate is inside the velocity, so that after a drop the old velocity coasts on at
    its old size. torch keeps u = -v / lr instead, which a drop would shrink at once. The two agree
    if the decay of u is corrected by the change of rate, momentum * lr_before / lr: then torch's
    fused kernel computes the rule of 2012 in one pass over the memory.

    Parameter groups with a rate of 0 are skipped altogether, without decay or coasting, and lose
    their velocity, as a layer with epsW = 0 does in the authors' code.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(groups, lr=lr, momentum=momentum, fused=True)
        self.momentum = momentum

    @torch.no_grad()
    def set_rate(self, group: dict[str, Any], lr: float) -> None:
        """Give a group the rate of the next step, correcting the velocity for the change."""
        before = group.get("lr_of_velocity", lr)
        group["lr"] = lr
        group["momentum"] = self.momentum * (before / lr if lr and before else 1.0)
        group["lr_of_velocity"] = lr

    def step(self, closure: Any = None) -> Any:
        """One update; groups with a rate of 0 are left out and lose their velocity."""
        for group in self.param_groups:
            if group["lr"] == 0.0:
                for parameter in group["params"]:
                    self.state.pop(parameter, None)
                    parameter.grad = None
        return super().step(closure)

    def velocity(self, parameter: Tensor) -> Tensor:
        """The paper's v of a parameter, shaped like it."""
        group = next(g for g in self.param_groups if any(p is parameter for p in g["params"]))
        buffer = self.state.get(parameter, {}).get("momentum_buffer")
        return torch.zeros_like(parameter) if buffer is None else -group["lr_of_velocity"] * buffer


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The configured optimiser over the model, one parameter group per layer's weight and bias.

    Biases never decay with kind "2012", as in the authors' code (layer.cu, line 565), nor with
    "adamw"; plain "sgd" decays everything, as torch does.
    """
    decays = defaultdict(lambda: config.weight_decay, config.layer_decays)
    groups: list[dict[str, Any]] = [
        {
            "params": [parameter],
            "layer": layer,
            "is_bias": is_bias,
            "weight_decay": 0.0 if is_bias and config.kind != "sgd" else decays[layer],
        }
        for layer, is_bias, parameter in _parameters(model)
    ]
    if config.kind == "2012":
        return Momentum2012(groups, config.lr, config.momentum)
    if config.kind == "sgd":
        return torch.optim.SGD(groups, config.lr, config.momentum, fused=True)
    return torch.optim.AdamW(groups, config.lr, betas=(config.momentum, 0.999), fused=True)


def set_rates(optimizer: torch.optim.Optimizer, rates: Rates) -> None:
    """Give every parameter group its rate for the next step."""
    for group in optimizer.param_groups:
        rate = rates.of(group["layer"], group["is_bias"])
        if isinstance(optimizer, Momentum2012):
            optimizer.set_rate(group, rate)
        else:
            group["lr"] = rate


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Everything the optimiser remembers, named `layer.weight|bias.what`."""
    return {
        f"{_name(group)}.{key}": torch.as_tensor(value)
        for group in optimizer.param_groups
        for parameter in group["params"]
        for key, value in optimizer.state.get(parameter, {}).items()
        if value is not None
    } | {
        f"{_name(group)}.lr_of_velocity": torch.tensor(group["lr_of_velocity"], dtype=torch.float64)
        for group in optimizer.param_groups
        if "lr_of_velocity" in group
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give back what `optimizer_tensors` took."""
    for group in optimizer.param_groups:
        prefix = _name(group) + "."
        state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        rate = state.pop("lr_of_velocity", None)
        if rate is not None:
            group["lr_of_velocity"] = float(rate)
        (parameter,) = group["params"]
        if state:
            optimizer.state[parameter] = {
                key: _laid_out_like(parameter, value) if value.ndim else value.to(parameter.device)
                for key, value in state.items()
            }


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """The value with the parameter's device and strides.

    torch's fused kernels walk memory in order and never compare strides: a velocity in another
    memory format than its weights would be added to the wrong weights, silently.
    """
    return torch.empty_like(parameter).copy_(value)


def _name(group: dict[str, Any]) -> str:
    return f"{group['layer']}.{'bias' if group['is_bias'] else 'weight'}"


def _parameters(model: nn.Module) -> Iterator[tuple[str, bool, nn.Parameter]]:
    for name, layer in model.named_children():  # in the order of the network's stages
        for part, parameter in layer.named_parameters():
            yield name, part == "bias", parameter
