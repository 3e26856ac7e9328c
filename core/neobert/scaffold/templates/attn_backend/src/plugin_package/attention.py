"""Attention with capped scores, one sequence after the other.

Shapes: T tokens in the stream, L tokens of one sequence, H heads, D head dim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor

if TYPE_CHECKING:
    from neobert import SequenceLayout


@frozen
class CappedAttention:
    """softmax(cap * tanh(scale * q k^T / cap)) v within each sequence."""

    cap: float

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        layout: SequenceLayout,
        *,
        scale: float,
        window: int | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        """q, k, v (T, H, D) -> (T, H, D); ``window`` is the number of tokens seen on each side."""
        if dropout_p:
            msg = f"this backend has no dropout, as its capabilities say; got dropout_p = {dropout_p}"
            raise ValueError(msg)
        precise = torch.promote_types(q.dtype, torch.float32)
        split = (torch.split(tensor.to(precise), list(layout.lengths)) for tensor in (q, k, v))
        pieces = [self._attend(*one, scale=scale, window=window) for one in zip(*split, strict=True)]
        return torch.cat(pieces).to(q.dtype)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float, window: int | None) -> Tensor:
        """One sequence: (L, H, D) each -> (L, H, D)."""
        scores = torch.einsum("qhd,khd->hqk", q, k) * scale
        scores = self.cap * torch.tanh(scores / self.cap)
        if window is not None:
            place = torch.arange(len(q), device=q.device)
            scores = scores.masked_fill((place[:, None] - place[None, :]).abs() > window, float("-inf"))
        return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)
