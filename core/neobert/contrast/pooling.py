"""One vector a sequence, straight from the token stream: no padding, no loop over sequences, no host sync.

Shapes: T tokens in the stream, N sequences, C hidden size.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from neobert.batch import SequenceLayout
    from neobert.contrast.options import Pooling
    from neobert.interfaces import Encoder

_MAX = 2
"""The number that torch's embedding_bag has for its mode ``max``."""


def pool(
    encoder: Encoder, input_ids: Tensor, layout: SequenceLayout, pooling: Pooling, num_sequences: int | None = None
) -> Tensor:
    """input_ids (T,) -> (N, C): the first ``num_sequences`` of the layout (default: all), in float32 at least.

    For ``cls`` and ``last`` only one token a sequence passes the last block's feed-forward layer.
    """
    count = layout.num_sequences if num_sequences is None else num_sequences
    if pooling in ("cls", "last"):
        bounds = layout.cu_seqlens.long()
        keep = bounds[:count] if pooling == "cls" else bounds[1 : count + 1] - 1
        return _precise(encoder(input_ids, layout, _of_varying_size(keep)))
    return pool_hidden(encoder(input_ids, layout), layout, pooling, count)


def pool_hidden(
    hidden_TC: Tensor, layout: SequenceLayout, pooling: Pooling, num_sequences: int | None = None
) -> Tensor:
    """hidden (T, C) -> (N, C). Every token counts, special ones too.

    ``mean`` (or ``avg``); ``cls``: the first token; ``last``; ``max``: of each feature by itself, its gradient goes
    to one token; ``weighted_mean``: token i of n, from 1, weighs i / (1 + ... + n), after SGPT (Muennighoff 2022,
    arXiv:2202.08904).
    """
    count = layout.num_sequences if num_sequences is None else num_sequences
    tokens = sum(layout.lengths[:count])
    bounds = layout.cu_seqlens[: count + 1].long()
    hidden_TC = _precise(hidden_TC)
    if pooling == "cls":
        return hidden_TC[bounds[:-1]]
    if pooling == "last":
        return hidden_TC[bounds[1:] - 1]
    if tokens < len(hidden_TC):
        hidden_TC = hidden_TC[:tokens]
    if pooling == "max":
        return hidden_TC.gather(0, _highest(hidden_TC, bounds))
    lengths_N1 = bounds.diff().to(hidden_TC.dtype).unsqueeze(1)
    if pooling in ("mean", "avg"):
        return sum_segments(hidden_TC, bounds) / lengths_N1
    if pooling == "weighted_mean":
        places_T1 = (layout.position_ids[:tokens] + 1).to(hidden_TC.dtype).unsqueeze(1)
        return sum_segments(hidden_TC * places_T1, bounds) / (lengths_N1 * (lengths_N1 + 1) / 2)
    msg = f"no pooling is called {pooling!r}"
    raise ValueError(msg)


def sum_segments(rows_TC: Tensor, bounds: Tensor) -> Tensor:
    """rows (T, C), bounds (N + 1,) int64 from 0 to T -> (N, C): the sum over each segment, in a fixed order."""
    result: Tensor = _SegmentSum.apply(rows_TC, bounds)  # type: ignore[no-untyped-call]
    return result


class _SegmentSum(torch.autograd.Function):
    """Keeps nothing but which row belongs where."""

    @staticmethod
    def forward(ctx: Any, rows_TC: Tensor, bounds: Tensor) -> Tensor:
        numbers = torch.arange(len(bounds) - 1, device=bounds.device)
        segments_T = torch.repeat_interleave(numbers, bounds.diff(), output_size=len(rows_TC))
        ctx.save_for_backward(segments_T)
        if rows_TC.device.type == "cuda":
            return sum_in_order(rows_TC, bounds)  # index_add adds in whatever order there
        return rows_TC.new_zeros(len(numbers), rows_TC.shape[1]).index_add_(0, segments_T, rows_TC)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.index_select(0, *ctx.saved_tensors), None


def sum_in_order(rows_TC: Tensor, bounds: Tensor) -> Tensor:
    """The same sums on any device, row after row."""
    places = torch.arange(len(rows_TC), device=rows_TC.device)
    return F.embedding_bag(places, rows_TC, bounds, mode="sum", include_last_offset=True)


@torch.no_grad()
def _highest(hidden_TC: Tensor, bounds: Tensor) -> Tensor:
    """(N, C): the row of each segment in which each feature is highest."""
    places = torch.arange(len(hidden_TC), device=hidden_TC.device)
    *_, rows_NC = torch.embedding_bag(hidden_TC, places, bounds, False, _MAX, False, None, True)
    return rows_NC.long()


def _precise(hidden: Tensor) -> Tensor:
    return hidden.to(torch.promote_types(hidden.dtype, torch.float32))


def _of_varying_size(keep: Tensor) -> Tensor:
    """Where blocks are compiled, they are so once for any number of sequences. (Importing the compiler takes a second,
    so it is asked only where it has been imported.)"""
    compiler = sys.modules.get("torch._dynamo")
    if compiler is not None:
        compiler.maybe_mark_dynamic(keep, 0)
    return keep
