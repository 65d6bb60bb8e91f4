"""Data parallelism: replicas of a network, each with its slice of every batch.

torch's DistributedDataParallel sends the gradients off in buckets while the backward pass goes on.
The loss is everywhere a sum over the own images divided by the images of the *whole* batch, so the
gradients of the replicas are added, not averaged: slices may then be of any size, also empty ones.
"""

import inspect
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from alexnet.parallel.world import World

# The one buffer, the subtracted mean, never changes. torch 2.13 has renamed the argument.
_ARGUMENTS = inspect.signature(DistributedDataParallel.__init__).parameters
_UNSYNCHRONISED: dict[str, Any] = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in _ARGUMENTS
    else {"broadcast_buffers": False}
)


def replicate(module: nn.Module, world: World, group: dist.ProcessGroup) -> nn.Module:
    """The module, its gradients added up over the replicas of a group in every backward pass.

    A module whose parameters are all frozen has none to add up and stays as it is.
    """
    if not any(parameter.requires_grad for parameter in module.parameters()):
        return module
    replica = DistributedDataParallel(
        module,
        device_ids=[world.device] if world.device.type == "cuda" else None,
        process_group=group,
        gradient_as_bucket_view=True,
        **_UNSYNCHRONISED,
    )
    replica.register_comm_hook(group, _add_up)
    return replica


def _add_up(
    group: dist.ProcessGroup,
    bucket: dist.GradBucket,  # type: ignore[name-defined]
) -> torch.futures.Future[Tensor]:
    work: Any = dist.all_reduce(bucket.buffer(), group=group, async_op=True)
    added: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return added
