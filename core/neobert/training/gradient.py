"""From summed gradients to the mean over the step's items, clipped; all on the device, without a sync."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def finish_gradients(parameters: Iterable[nn.Parameter], count: Tensor, max_norm: float | None) -> Tensor:
    """Divides every gradient by ``count`` (all items of the step) and clips to ``max_norm``; returns the norm before.

    Both factors are applied in one pass over the gradients. A step with no item has zero gradients and stays zero.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros((), device=count.device)
    factor = 1.0 / count.clamp(min=1).to(torch.float32)
    norm = torch.nn.utils.get_total_norm(gradients) * factor
    if max_norm is not None:
        factor = factor * (max_norm / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, factor)
    return norm
