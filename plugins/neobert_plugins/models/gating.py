"""The gate of SwiGLU (Shazeer, 2020, arXiv:2002.05202): silu(gate) * up, with as little in memory as can be.

Shapes: T tokens, I feed-forward width.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def gated(gate_up: Tensor) -> Tensor:
    """gate_up (T, 2 I), [gate, up] -> (T, I)."""
    if torch.compiler.is_compiling():
        gate_TI, up_TI = gate_up.chunk(2, dim=-1)
        return F.silu(gate_TI) * up_TI
    return cast(Tensor, _Gated.apply(gate_up))  # type: ignore[no-untyped-call]


class _Gated(torch.autograd.Function):
    """Keeps its input alone, and writes both gradients into one tensor: no silu kept, nothing joined."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate_TI, up_TI = gate_up.chunk(2, dim=-1)
        return F.silu(gate_TI).mul_(up_TI)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate_TI, up_TI = gate_up.chunk(2, dim=-1)
        grads = torch.empty_like(gate_up)
        for_gate, for_up = grads.chunk(2, dim=-1)
        torch.mul(grad, F.silu(gate_TI), out=for_up)
        torch.ops.aten.silu_backward.grad_input(grad * up_TI, gate_TI, grad_input=for_gate)
        return grads
