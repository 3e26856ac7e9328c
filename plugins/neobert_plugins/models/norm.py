"""RMSNorm (Zhang & Sennrich, 2019, arXiv:1910.07467), in few passes over memory.

Shapes: T tokens, C hidden size.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class RMSNorm(nn.RMSNorm):
    """`torch.nn.RMSNorm` over one dimension with an eps; what differs is that it keeps its input and (T, 1) alone."""

    def forward(self, x: Tensor) -> Tensor:
        """(T, C) -> (T, C)."""
        # torch computes what is narrower than the weights in float32, and has it back in its own dtype.
        if torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype != self.weight.dtype:
            return super().forward(x)
        return cast(Tensor, _RMSNorm.apply(x, self.weight, self.eps))  # type: ignore[no-untyped-call]


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale_T1 = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale_T1)
        normed: Tensor = x * scale_T1
        return normed.mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, scale_T1 = ctx.saved_tensors
        normed = x * scale_T1
        along = grad * normed
        for_weight = along.sum(0)
        # What of the gradient points along x is lost in the division by x's own length.
        lost_T1 = (along @ weight).div_(-x.shape[-1]).unsqueeze(-1)
        return (grad * weight).addcmul_(normed, lost_T1).mul_(scale_T1), for_weight, None
