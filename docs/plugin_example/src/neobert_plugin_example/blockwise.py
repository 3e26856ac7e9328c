"""Attention, a block of queries at a time.

Shapes: T tokens in the stream, L tokens of one sequence, Q queries of a block, K keys that they may see,
H heads, D head dim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor

if TYPE_CHECKING:
    from neobert import SequenceLayout


@frozen
class BlockwiseAttend:
    """softmax(scale * q k^T) v within each sequence, with (H, Q, K) scores at a time.

    With a window of w tokens on each side a block looks at Q + 2w keys, so the work grows with L and not with
    its square.
    """

    block_size: int

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
        """q, k, v (T, H, D) -> (T, H, D)."""
        if dropout_p:
            msg = f"this backend has no dropout, as its capabilities say; got dropout_p = {dropout_p}"
            raise ValueError(msg)
        # Every block adds to the gradient of the same keys and values: in bfloat16 such a sum loses digits.
        precise = torch.promote_types(q.dtype, torch.float32)
        split = (torch.split(tensor.to(precise), list(layout.lengths)) for tensor in (q, k, v))
        pieces = []
        for q_one, k_one, v_one in zip(*split, strict=True):
            for start in range(0, len(q_one), self.block_size):
                pieces.append(_block(q_one, k_one, v_one, start, self.block_size, scale, window))
        return torch.cat(pieces).to(q.dtype)


def _block(q: Tensor, k: Tensor, v: Tensor, start: int, size: int, scale: float, window: int | None) -> Tensor:
    """The queries from ``start`` on against all keys that they may see: (Q, H, D)."""
    end = min(start + size, len(q))
    first, last = (0, len(k)) if window is None else (max(start - window, 0), min(end + window, len(k)))
    scores = torch.einsum("qhd,khd->hqk", q[start:end], k[first:last]) * scale
    if window is not None:
        queries = torch.arange(start, end, device=q.device)
        keys = torch.arange(first, last, device=q.device)
        too_far = (queries[:, None] - keys[None, :]).abs() > window
        scores = scores.masked_fill(too_far, float("-inf"))
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v[first:last])
