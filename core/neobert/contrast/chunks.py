"""Embeddings of more sequences than fit into memory at once: a chunk of the stream at a time.

Each chunk is encoded and pooled under a checkpoint, and once more in the backward pass with torch's generator as it
was, so the gradient is that of the encoder's one and only answer, dropout and all. (Gao et al. 2021, arXiv:2101.06983,
come to the same end by another way: embeddings first, and their gradients kept.)

Shapes: T tokens in the stream, N sequences, C hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from neobert.batch import SequenceLayout
from neobert.contrast.pooling import pool

if TYPE_CHECKING:
    from neobert.contrast.options import Pooling
    from neobert.interfaces import Encoder


def pool_in_chunks(
    encoder: Encoder,
    input_ids: Tensor,
    layout: SequenceLayout,
    pooling: Pooling,
    *,
    num_sequences: int | None = None,
    chunk_tokens: int,
) -> Tensor:
    """input_ids (T,) -> (N, C), as `neobert.contrast.pooling.pool`, with what one chunk takes in memory.

    It equals `pool` over each chunk after the other, without checkpoints and with torch's generator going on from
    chunk to chunk: exactly, gradient too, whatever the encoder draws. Where nothing is drawn it also equals `pool`
    over the whole stream; where something is, the whole stream and its chunks draw in another order.
    """
    count = layout.num_sequences if num_sequences is None else num_sequences
    again = torch.is_grad_enabled()
    pooled = []
    for first, last in chunk_bounds(layout.lengths[:count], chunk_tokens):
        start, stop = sum(layout.lengths[:first]), sum(layout.lengths[:last])
        arguments = (encoder, input_ids[start:stop], part_of(layout, first, last), pooling)
        pooled.append(checkpoint(pool, *arguments, use_reentrant=False) if again else pool(*arguments))
    return torch.cat(pooled)


def chunk_bounds(lengths: Sequence[int], chunk_tokens: int) -> list[tuple[int, int]]:
    """(first, last + 1) of the sequences of each chunk: as many as come to ``chunk_tokens`` tokens at most.

    They follow each other as in the stream. A sequence that is longer is a chunk of its own.
    """
    bounds, first, tokens = [], 0, 0
    for number, length in enumerate(lengths):
        if number > first and tokens + length > chunk_tokens:
            bounds.append((first, number))
            first, tokens = number, 0
        tokens += length
    return [*bounds, (first, len(lengths))] if lengths else []


def part_of(layout: SequenceLayout, first: int, last: int) -> SequenceLayout:
    """The layout of sequences ``first`` to ``last - 1`` by themselves, made where the layout is."""
    lengths = layout.lengths[first:last]
    start = sum(layout.lengths[:first])
    return SequenceLayout(
        layout.cu_seqlens[first : last + 1] - layout.cu_seqlens[first],
        max(lengths),
        lengths,
        layout.position_ids[start : start + sum(lengths)],
    )
