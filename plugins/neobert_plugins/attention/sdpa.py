"""Attention by torch's own fused kernels, with no mask over the stream and no question to the device.

Shapes: T tokens in the stream, H heads, D head dim; a run is B neighbouring sequences of L tokens each.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from neobert_plugins.attention.bands import band_mask
from neobert_plugins.attention.cpu import HAS_KERNEL, attend_on_cpu
from neobert_plugins.attention.kernel_inputs import narrow

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
    """q, k, v (T, H, D), strided or not -> (T, H, D). A window costs an (L, L) mask for each run."""
    runs = [(length, len(tuple(group))) for length, group in groupby(layout.lengths)]
    if HAS_KERNEL and q.device.type == "cpu" and dropout_p == 0.0 and narrow(window, layout) is None:
        return attend_on_cpu(q, k, v, runs, scale)
    sizes = [length * count for length, count in runs]
    pieces = []
    for (length, count), *qkv in zip(runs, *(torch.split(x, sizes) for x in (q, k, v)), strict=True):
        q_BHLD, k_BHLD, v_BHLD = (torch.unflatten(part, 0, (count, length)).transpose(1, 2) for part in qkv)
        seen = band_mask(length, window, q.device)
        out_BHLD = F.scaled_dot_product_attention(
            q_BHLD, k_BHLD, v_BHLD, attn_mask=seen, dropout_p=dropout_p, scale=scale
        )
        pieces.append(out_BHLD.transpose(1, 2).flatten(0, 1))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)
