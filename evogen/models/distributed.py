"""Training in several processes: the same weights in each, other batches, the mean gradient.

Any launcher that initializes `torch.distributed` will do: torchrun, Lightning Fabric, accelerate.
Alone, these functions do nothing.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world_size() -> int:
    """Number of processes that train together; 1 if there is no process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def average(x: Tensor) -> Tensor:
    """The mean of a tensor over all processes, in place."""
    if world_size() > 1:
        dist.all_reduce(x)
        x /= world_size()
    return x


def agree(good: bool) -> bool:
    """Whether something is true in every process."""
    if world_size() == 1:
        return good
    return all(each for each in _gathered(good))


def _gathered(value: bool) -> list[bool]:
    values: list[bool] = [False] * world_size()
    dist.all_gather_object(values, value)
    return values


@torch.no_grad()
def average_buffers(module: nn.Module) -> None:
    """Makes batch statistics, which each process took from its own batches, the same."""
    if world_size() > 1:
        for buffer in module.buffers():
            if buffer.is_floating_point():
                average(buffer)
