"""Plain implementations that the suites compare with. Slow, and as close to the formulas as they can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from neobert.testing.context import per_sequence

if TYPE_CHECKING:
    from torch import Tensor


def plain_attention(
    q: Tensor, k: Tensor, v: Tensor, lengths: tuple[int, ...], *, scale: float, window: int | None = None
) -> Tensor:
    """softmax(scale * q k^T) v in float64, one sequence and one head at a time; (T, H, D) -> (T, H, D)."""
    pieces = []
    parts = (per_sequence(tensor.double(), lengths) for tensor in (q, k, v))
    for q_LHD, k_LHD, v_LHD in zip(*parts, strict=True):
        heads = [_one_head(q_LHD[:, head], k_LHD[:, head], v_LHD[:, head], scale, window) for head in range(q.shape[1])]
        pieces.append(torch.stack(heads, dim=1))
    return torch.cat(pieces)


def _one_head(q_LD: Tensor, k_LD: Tensor, v_LD: Tensor, scale: float, window: int | None) -> Tensor:
    weights_LL = torch.exp(scale * q_LD @ k_LD.T - (scale * q_LD @ k_LD.T).amax(1, keepdim=True).detach())
    if window is not None:
        place = torch.arange(len(q_LD), device=q_LD.device)
        weights_LL = weights_LL * ((place[:, None] - place[None, :]).abs() <= window)
    return (weights_LL / weights_LL.sum(1, keepdim=True)) @ v_LD
