"""Token streams as padded batches, for models of transformers.

Shapes: T tokens in the stream, N sequences of a group, L its longest.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from attrs import frozen
from torch import Tensor

from neobert.batch import SequenceLayout

GROUP_LOGITS = 1 << 26
"""Logits that a group may have: 256 MiB of float32."""


@frozen(eq=False)
class Group:
    """Some sequences of a stream, one after another."""

    ids: Tensor
    """(N, L), padded with 0."""
    mask: Tensor
    """(N, L), true where a token is."""
    first: int
    """The place in the stream of the first token."""


def padded(input_ids: Tensor, lengths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """input_ids (T,) of sequences of these lengths -> ids (N, L) padded with 0, and a mask (N, L) of what is there."""
    sizes = torch.tensor(lengths, device=input_ids.device)
    mask = torch.arange(max(lengths), device=input_ids.device) < sizes.unsqueeze(1)
    ids = input_ids.new_zeros(mask.shape)
    ids[mask] = input_ids
    return ids, mask


def padded_groups(input_ids: Tensor, layout: SequenceLayout, *, vocabulary: int) -> Iterator[Group]:
    """Groups of sequences, none with more than `GROUP_LOGITS` logits unless it is a single sequence."""
    most = max(1, GROUP_LOGITS // vocabulary)
    start, place = 0, 0
    while start < layout.num_sequences:
        stop, longest = start, 0
        while stop < layout.num_sequences:
            longest = max(longest, layout.lengths[stop])
            if stop > start and longest * (stop + 1 - start) > most:
                break
            stop += 1
        lengths = layout.lengths[start:stop]
        tokens = sum(lengths)
        ids, mask = padded(input_ids[place : place + tokens], lengths)
        yield Group(ids, mask, place)
        start, place = stop, place + tokens
