"""Rotary positions (Su et al., 2021, arXiv:2104.09864): neighbouring pairs turn by an angle of the position.

Shapes: T tokens in the stream, H heads, D head dim.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def rotary_table(position_ids: Tensor, head_dim: int, theta: float, dtype: torch.dtype) -> Tensor:
    """position_ids (T,) -> (T, D / 2, 2): cosine and sine of position * theta ** (-2 j / D).

    Angles are float32, as in the published model and its native counterpart; float64 in a float64 model.
    """
    precision = torch.float64 if dtype == torch.float64 else torch.float32
    exponents = torch.arange(0, head_dim, 2, dtype=precision, device=position_ids.device) / head_dim
    angles = torch.outer(position_ids.to(precision), 1.0 / theta**exponents)
    return torch.stack((angles.cos(), angles.sin()), dim=-1)


def split_rotated(qkv: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """qkv (T, H, 3, D), table (T, D / 2, 2) -> q, k, v (T, H, D); pairs (2 j, 2 j + 1) of q and k turned."""
    q, k, v = _SplitRotated.apply(qkv, table)  # type: ignore[no-untyped-call]
    return q, k, v


class _SplitRotated(torch.autograd.Function):
    """One pass over q and k each way; the three gradients are written into one tensor, with nothing in between."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(table)
        qk_TH2D, v_TH1D = torch.split(qkv, [2, 1], dim=2)
        q, k = _turn(qk_TH2D, table).unbind(2)
        return q, k, v_TH1D.squeeze(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_q: Tensor, for_k: Tensor, for_v: Tensor) -> tuple[Tensor, None]:
        (table,) = ctx.saved_tensors
        back = torch.stack((table[..., 0], -table[..., 1]), dim=-1)
        grad_TH3D = for_v.new_empty(*for_v.shape[:2], 3, for_v.shape[2])
        for part, for_part in zip(grad_TH3D.unbind(2), (for_q, for_k), strict=False):
            part.copy_(_turn(for_part, back))
        grad_TH3D[:, :, 2].copy_(for_v)
        return grad_TH3D, None


def _turn(heads: Tensor, table: Tensor) -> Tensor:
    """heads (T, ..., D), table (T, D / 2, 2) -> heads, each pair multiplied as one complex number."""
    pairs = torch.unflatten(heads.to(table.dtype), -1, (-1, 2))
    turns = table.view(table.shape[0], *(1,) * (heads.dim() - 2), -1, 2)
    return _product(pairs, turns).flatten(-2).to(heads.dtype)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Complex products of (..., 2) and (..., 2)."""
    if not torch.compiler.is_compiling():
        # One pass over memory where the same in real numbers takes six.
        return torch.view_as_real(torch.view_as_complex(a) * torch.view_as_complex(b))
    # Inductor has no complex numbers, and makes one pass of this.
    (a_real, a_imag), (b_real, b_imag) = a.unbind(-1), b.unbind(-1)
    return torch.stack((a_real * b_real - a_imag * b_imag, a_real * b_imag + a_imag * b_real), dim=-1)
