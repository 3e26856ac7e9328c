"""RMSNorm (Zhang & Sennrich, 2019, arXiv:1910.07467), in few passes over memory and keeping little of it.

Shapes: T tokens, C hidden size, N columns of a projection.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from neobert.products import product, product_over_rows


class RMSNorm(nn.RMSNorm):
    """`torch.nn.RMSNorm` over one dimension with an eps; what differs is that it keeps its input and (T, 1) alone."""

    def forward(self, x: Tensor) -> Tensor:
        """(T, C) -> (T, C)."""
        if not self.computes_itself(x):
            return super().forward(x)
        return cast(Tensor, _RMSNorm.apply(x, self.weight, self.eps))  # type: ignore[no-untyped-call]

    def computes_itself(self, x: Tensor) -> bool:
        """Whether torch's own way is not taken for ``x``: on a CPU, not compiled, where dtypes are the same.

        torch computes what is narrower than the weights in float32, and has it back in its own dtype.
        """
        return not torch.compiler.is_compiling() and x.device.type == "cpu" and x.dtype == self.weight.dtype


def project_normed(norm: nn.Module, projection: nn.Linear, x: Tensor) -> Tensor:
    """x (T, C) -> ``projection(norm(x))`` (T, N); ``projection`` has no bias.

    With our own RMSNorm what lies between the two is made again in the backward pass: one pass over memory, for a
    (T, C) less in each half of a block.
    """
    ours = isinstance(norm, RMSNorm) and norm.computes_itself(x)
    if not ours or projection.weight.dtype != x.dtype or torch.is_autocast_enabled("cpu"):
        return cast(Tensor, projection(norm(x)))
    return cast(Tensor, _ProjectNormed.apply(x, norm.weight, norm.eps, projection.weight))  # type: ignore[no-untyped-call]


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale_T1 = _scale(x, eps)
        ctx.save_for_backward(x, weight, scale_T1)
        return (x * scale_T1).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, scale_T1 = ctx.saved_tensors
        return *_norm_backward(grad, x * scale_T1, weight, scale_T1), None


class _ProjectNormed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float, weight: Tensor) -> Tensor:
        scale_T1 = _scale(x, eps)
        ctx.save_for_backward(x, gain, scale_T1, weight)
        return product((x * scale_T1).mul_(gain), weight.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, Tensor]:
        x, gain, scale_T1, weight = ctx.saved_tensors
        grad = grad.contiguous()
        normed = x * scale_T1
        for_weight = product_over_rows(grad, normed * gain)
        return *_norm_backward(product(grad, weight), normed, gain, scale_T1), None, for_weight


def _scale(x: Tensor, eps: float) -> Tensor:
    """(T, C) -> (T, 1): one over the root of the mean square."""
    norm_T1 = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return cast(Tensor, norm_T1.square_().div_(x.shape[-1]).add_(eps).rsqrt_())


def _norm_backward(grad: Tensor, normed: Tensor, weight: Tensor, scale_T1: Tensor) -> tuple[Tensor, Tensor]:
    """For the norm's input and its weight; ``normed`` is the input times the scale."""
    along = grad * normed
    for_weight = along.sum(0)
    # What of the gradient points along the input is lost in the division by the input's own length.
    lost_T1 = (along @ weight).div_(-normed.shape[-1]).unsqueeze(-1)
    return (grad * weight).addcmul_(normed, lost_T1).mul_(scale_T1), for_weight
