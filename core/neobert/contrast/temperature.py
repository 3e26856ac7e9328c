"""What scores are divided by before their softmax: given, or learned."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from neobert.contrast.options import COLDEST, WARMEST


class Temperature(nn.Module):
    """Called without arguments: the scale, 1 / temperature.

    A learned one has the parameter ``log_scale`` (1,), the logarithm of the scale, so that a step changes it by a share
    of itself. Its temperature stays between `COLDEST` and `WARMEST`.
    """

    def __init__(self, value: float, *, learned: bool = False) -> None:
        super().__init__()
        self._scale = 1.0 / value
        self.log_scale = nn.Parameter(torch.tensor([-math.log(value)])) if learned else None

    def forward(self) -> Tensor | float:
        """A number, or (1,) where it is learned."""
        if self.log_scale is None:
            return self._scale
        bounded: Tensor = _Bounded.apply(self.log_scale, -math.log(WARMEST), -math.log(COLDEST))  # type: ignore[no-untyped-call]
        return bounded.exp()

    def metrics(self, count: Tensor) -> dict[str, Tensor]:
        """``temperature`` where it is learned, times the count that the core divides by."""
        scale = self()
        return {"temperature": (count / scale.detach()).squeeze(0)} if isinstance(scale, Tensor) else {}


class _Bounded(torch.autograd.Function):
    """A clamp that lets through what leads back: a value beyond a bound can still return."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.bounds = (low, high)
        return value.clamp(low, high)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (value,) = ctx.saved_tensors
        low, high = ctx.bounds
        outward = ((value <= low) & (grad > 0)) | ((value >= high) & (grad < 0))
        return grad.masked_fill(outward, 0.0), None, None
