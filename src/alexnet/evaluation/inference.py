"""The network made ready to answer: on its device, nothing done twice that can be done once."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from alexnet.model.build import Network
from alexnet.model.forms import choose_forms, use_forms
from alexnet.parallel.world import World

Answer = Callable[[Tensor], Tensor]
"""(N, 3, S, S) RGB, 0..255, on any device, to (N, classes) float32 logits on the network's."""


def use_fastest_forms(model: Network, world: World) -> None:
    """Bring the network to its device; there each convolution computes in its fastest form.

    The forms are compared with float32 first, as before a training.

    Raises:
        UserError: a convolution gives wrong results on this machine.
    """
    use_forms(model.to(world.device), choose_forms(model, world.dtype))


def answering(model: Network, world: World) -> Answer:
    """A function from images to logits, for many calls.

    In bfloat16 the weights are cast once, into a copy: cast on each call, as autocast does, they
    cost more than a single image gains. The given network stays as it is but for its device, its
    memory format and its mode, which is that of evaluation afterwards.
    """
    with torch.inference_mode(False):  # what moves in inference mode has no gradients afterwards
        model = model.to(world.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.eval()
        network = _cast(model) if world.precision == "bf16" else model

    @torch.inference_mode()
    def answer(images: Tensor) -> Tensor:
        with world.autocast():
            logits: Tensor = network(images.to(world.device))
        return logits.float()

    return answer


def _cast(model: Network) -> Network:
    """The network with its weights in bfloat16; the mean stays exact."""
    network = copy.deepcopy(model)
    for parameter in network.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    return network
