"""Attention as the formula says: softmax(scale * q k^T) v, in the dtype that comes in.

Shapes: T tokens in the stream, L tokens of one sequence, H heads, D head dim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from neobert_plugins.attention.bands import band_mask

if TYPE_CHECKING:
    from neobert import SequenceLayout


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: SequenceLayout,
    *,
    scale: float,
    window: int | None = None,
    dropout_p: float = 0.0,
) -> Tensor:
    """q, k, v (T, H, D) -> (T, H, D). The backward pass needs the (H, L, L) shares of every sequence."""
    sizes = list(layout.lengths)
    pieces = []
    for q_LHD, k_LHD, v_LHD in zip(*(torch.split(x, sizes) for x in (q, k, v)), strict=True):
        scores_HLL = q_LHD.transpose(0, 1) @ k_LHD.permute(1, 2, 0) * scale
        seen = band_mask(q_LHD.shape[0], window, q.device)
        if seen is not None:
            scores_HLL = scores_HLL.masked_fill(~seen, float("-inf"))
        shares_HLL = F.dropout(scores_HLL.softmax(-1), dropout_p)
        pieces.append((shares_HLL @ v_LHD.transpose(0, 1)).transpose(0, 1))
    return torch.cat(pieces)
