"""The second half of SwiGLU (Shazeer, 2020, arXiv:2002.05202): (silu(gate) * up) W, keeping little for the backward.

Shapes: T tokens, C hidden size, I feed-forward width.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from neobert.products import linear, product, product_over_rows


def gated_linear(gate_up: Tensor, weight: Tensor) -> Tensor:
    """gate_up (T, 2 I), [gate, up], weight (C, I) -> (T, C), in the dtype of ``gate_up``."""
    weight = weight.to(gate_up.dtype)
    if torch.compiler.is_compiling():
        return linear(_gated(gate_up), weight)
    return cast(Tensor, _GatedLinear.apply(gate_up, weight))  # type: ignore[no-untyped-call]


def _gated(gate_up: Tensor) -> Tensor:
    gate_TI, up_TI = gate_up.chunk(2, dim=-1)
    return F.silu(gate_TI) * up_TI


class _GatedLinear(torch.autograd.Function):
    """Keeps ``gate_up`` alone, computes the gate again, and writes both of its gradients into one tensor."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up, weight)
        return product(_gated(gate_up), weight.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate_up, weight = ctx.saved_tensors
        grad = grad.contiguous()
        for_weight = product_over_rows(grad, _gated(gate_up))
        for_gated_TI = product(grad, weight)
        gate_TI, up_TI = gate_up.chunk(2, dim=-1)
        for_gate_up = torch.empty_like(gate_up)
        for_gate_TI, for_up_TI = for_gate_up.chunk(2, dim=-1)
        torch.ops.aten.silu.out(gate_TI, out=for_up_TI).mul_(for_gated_TI)
        torch.mul(for_gated_TI, up_TI, out=for_gate_TI)
        torch.ops.aten.silu_backward.grad_input(for_gate_TI, gate_TI, grad_input=for_gate_TI)
        return for_gate_up, for_weight
