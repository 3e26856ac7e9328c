"""Texts to embeddings: tokenized as in training, each text once, in batches of a bounded number of tokens.

Shapes: N texts, T tokens in the stream, E embedding size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neobert.batch import SequenceLayout
from neobert.data.sequences import SpecialTokens, body_length

BATCH_TOKENS = 16384
Embed = Callable[[Tensor, SequenceLayout], Tensor]
"""input_ids (T,), layout -> (N, E)."""


def token_ids(tokenizer: Any, texts: Sequence[str], max_seq_length: int, prompt: str = "") -> list[NDArray[np.int64]]:
    """Each text's ids, behind ``prompt``, cut to ``max_seq_length`` with its special tokens."""
    return cut_token_ids(tokenizer, texts, max_seq_length, prompt)[0]


def cut_token_ids(
    tokenizer: Any, texts: Sequence[str], max_seq_length: int, prompt: str = ""
) -> tuple[list[NDArray[np.int64]], int]:
    """The same, and how many of them were cut."""
    special = SpecialTokens.of(tokenizer)
    body = body_length(max_seq_length, special)
    if not texts:
        return [], 0
    encoded = tokenizer([prompt + text for text in texts], add_special_tokens=False, verbose=False)["input_ids"]
    sequences = [special.around(np.asarray(ids[:body], dtype=np.int64)) for ids in encoded]
    return sequences, sum(len(ids) > body for ids in encoded)


def embed_sequences(
    embed: Embed, sequences: Sequence[NDArray[np.integer[Any]]], device: torch.device, tokens: int = BATCH_TOKENS
) -> Tensor:
    """(N, E) float32 on ``device``, in the order of ``sequences``.

    They are embedded by length, so that a batch holds those that are alike, as many as come to ``tokens``.
    """
    order = sorted(range(len(sequences)), key=lambda index: (len(sequences[index]), index))
    found: list[Tensor] = []
    for batch in _batches(order, sequences, tokens):
        ids = torch.from_numpy(np.concatenate([sequences[index] for index in batch]).astype(np.int64))
        layout = SequenceLayout.from_lengths([len(sequences[index]) for index in batch])
        found.append(embed(ids.to(device), layout.to(device)).float())
    if not found:
        return torch.empty(0, 0, device=device)
    by_length = torch.cat(found)
    places = torch.empty(len(order), dtype=torch.int64)
    places[torch.tensor(order)] = torch.arange(len(order))
    return by_length[places.to(device)]


def _batches(order: Sequence[int], sequences: Sequence[NDArray[np.integer[Any]]], tokens: int) -> Iterator[list[int]]:
    batch: list[int] = []
    held = 0
    for index in order:
        if batch and held + len(sequences[index]) > tokens:
            yield batch
            batch, held = [], 0
        batch.append(index)
        held += len(sequences[index])
    if batch:
        yield batch
