"""Attention by torch's own fused kernels, with no mask over the stream and no question to the device.

Shapes: T tokens in the stream, H heads, D head dim; a run is B neighbouring sequences of L tokens each.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from neobert_plugins.attention.bands import bands
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
    """q, k, v (T, H, D), strided or not -> (T, H, D).

    With a window, queries are computed in blocks, each with the keys near it: the cost follows T * window.
    """
    runs = [(length, len(tuple(group))) for length, group in groupby(layout.lengths)]
    if HAS_KERNEL and q.device.type == "cpu" and dropout_p == 0.0:
        return attend_on_cpu(q, k, v, runs, scale, narrow(window, layout))
    sizes = [length * count for length, count in runs]
    pieces = []
    for (length, count), *qkv in zip(runs, *(torch.split(x, sizes) for x in (q, k, v)), strict=True):
        q_BHLD, k_BHLD, v_BHLD = (torch.unflatten(part, 0, (count, length)).transpose(1, 2) for part in qkv)
        blocks = [
            F.scaled_dot_product_attention(
                q_BHLD[:, :, queries],
                k_BHLD[:, :, keys],
                v_BHLD[:, :, keys],
                attn_mask=seen,
                dropout_p=dropout_p,
                scale=scale,
            )
            for queries, keys, seen in bands(length, window, q.device)
        ]
        pieces.append(_joined(blocks, dim=2).transpose(1, 2).flatten(0, 1))
    return _joined(pieces, dim=0)


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
