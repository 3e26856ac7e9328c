"""Rotary positions (Su et al., 2021, arXiv:2104.09864): neighbouring pairs turn by an angle of the position.

Shapes: T tokens in the stream, H heads, D head dim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from neobert_plugins.models.frequencies import frequencies

if TYPE_CHECKING:
    from neobert_plugins.models.scaling import Rotation


def rotary_table(position_ids: Tensor, head_dim: int, rotation: Rotation, dtype: torch.dtype) -> Tensor:
    """position_ids (T,) -> (T, D / 2, 2): cosine and sine of position * frequency, times YaRN's attention factor.

    Angles are float32, as in the published model and its native counterpart; float64 in a float64 model.
    """
    precision = torch.float64 if dtype == torch.float64 else torch.float32
    speeds = frequencies(rotation, head_dim, precision, position_ids.device)
    angles = torch.outer(position_ids.to(precision), speeds)
    table = torch.stack((angles.cos(), angles.sin()), dim=-1)
    return table if rotation.attention_factor == 1.0 else table * rotation.attention_factor


def split_rotated(qkv: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """qkv (T, H, 3, D), table (T, D / 2, 2) -> q, k, v (T, H, D); pairs (2 j, 2 j + 1) of q and k turned.

    A pair is multiplied by its entry as one complex number, of whatever length: the gradient by the conjugate.

    ``qkv`` is spent: q and k may be turned in its memory. It must be the output of something that does not need it any
    more, as a linear layer.
    """
    q, k, v = _SplitRotated.apply(qkv, table)  # type: ignore[no-untyped-call]
    return q, k, v


class _SplitRotated(torch.autograd.Function):
    """One pass over q and k each way, in place; the three gradients are written into one tensor."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(table)
        if torch.compiler.is_compiling() or qkv.dtype != table.dtype:
            q, k = (_turned(part, table) for part in qkv.unbind(2)[:2])
            return q, k, qkv[:, :, 2]
        _as_complex(qkv[:, :, :2]).mul_(torch.view_as_complex(table)[:, None, None])
        # A view of its own, for autograd must not take the results for views of what went in.
        q, k, v = qkv.detach().unbind(2)
        return q, k, v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_q: Tensor, for_k: Tensor, for_v: Tensor) -> tuple[Tensor, None]:
        (table,) = ctx.saved_tensors
        back = torch.stack((table[..., 0], -table[..., 1]), dim=-1)
        if torch.compiler.is_compiling() or for_q.dtype != table.dtype:
            return torch.stack((_turned(for_q, back), _turned(for_k, back), for_v), dim=2), None
        grad_TH3D = for_v.new_empty(*for_v.shape[:2], 3, for_v.shape[2])
        for place, grad in zip(grad_TH3D.unbind(2), (for_q, for_k), strict=False):
            torch.mul(_as_complex(_in_pairs(grad)), torch.view_as_complex(back)[:, None], out=_as_complex(place))
        grad_TH3D[:, :, 2] = for_v
        return grad_TH3D, None


def _as_complex(heads: Tensor) -> Tensor:
    """(..., D) -> (..., D / 2), a view."""
    return torch.view_as_complex(_pairs(heads))


def _in_pairs(heads: Tensor) -> Tensor:
    """Copied where the two of a pair are not side by side in memory: gradients come with any strides, or expanded."""
    steps = (*heads.stride()[:-1], heads.storage_offset())
    fits = heads.stride(-1) == 1 and not any(step % 2 for step in steps)
    return heads if fits else heads.clone(memory_format=torch.contiguous_format)


def _turned(heads: Tensor, table: Tensor) -> Tensor:
    """heads (T, H, D), table (T, D / 2, 2) -> (T, H, D): each pair multiplied as one complex number."""
    wide, turns = heads.to(table.dtype), table[:, None]
    if not torch.compiler.is_compiling():
        # One pass over memory where the same in real numbers takes six.
        turned = torch.view_as_real(_as_complex(_in_pairs(wide)) * torch.view_as_complex(turns))
    else:
        # Inductor has no complex numbers, and makes one pass of this.
        (a, b), (c, d) = _pairs(wide).unbind(-1), turns.unbind(-1)
        turned = torch.stack((a * c - b * d, a * d + b * c), dim=-1)
    return turned.flatten(-2).to(heads.dtype)


def _pairs(heads: Tensor) -> Tensor:
    """(..., D) -> (..., D / 2, 2)."""
    return torch.unflatten(heads, -1, (-1, 2))
