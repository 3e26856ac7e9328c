"""From summed gradients to the mean over the step's items, clipped; all on the device, without a sync."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.tensor import DTensor

from neobert.shards import local
from neobert.training.meter import sum_dtype


def finish_gradients(parameters: Iterable[nn.Parameter], count: Tensor, max_norm: float | None) -> Tensor:
    """Divides every gradient by ``count`` (all items of the step) and clips to ``max_norm``; returns the norm before.

    Both factors are applied in one pass over the gradients. A step with no item has zero gradients and stays zero.
    Where processes have parts of the gradients, the norm is that of the whole, the same on each.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros((), device=count.device)
    factor = 1.0 / count.clamp(min=1).to(torch.float32)
    norm = norm_of(gradients) * factor
    if max_norm is not None:
        factor = factor * (max_norm / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_([local(gradient) for gradient in gradients], factor)
    return norm


def norm_of(tensors: Iterable[Tensor]) -> Tensor:
    """The root of all squares of all processes' parts, each counted once; of whole tensors, of these.

    Either all are in parts, over the same processes, or none is.
    """
    given = list(tensors)
    norm = torch.nn.utils.get_total_norm([local(tensor) for tensor in given])
    sharded = next((tensor for tensor in given if isinstance(tensor, DTensor)), None)
    if sharded is None:
        return norm
    square = norm.to(sum_dtype(norm.device)).square()
    dist.all_reduce(square, group=sharded.device_mesh.get_group())
    return square.sqrt().to(norm.dtype)
