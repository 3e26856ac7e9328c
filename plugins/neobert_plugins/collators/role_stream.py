"""The token stream of texts by role, and which of its sequences is whose.

Shapes: B examples, N sequences, K negatives, D the teacher's embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neobert.batch import Batch, SequenceLayout
from neobert.data.text_keys import text_key
from neobert.errors import UserError

Examples = Sequence[Mapping[str, Any]]


def batch_of(sequences: Sequence[NDArray[np.int64]], fields: Mapping[str, Tensor]) -> Batch:
    """These sequences (n,) int64 end to end, with ``text_key`` (N,): the same tokens have the same."""
    keys: dict[int, int] = {}  # sequences that are one array are looked at once
    for sequence in sequences:
        keys.setdefault(id(sequence), text_key(sequence))
    text_keys = torch.tensor([keys[id(sequence)] for sequence in sequences], dtype=torch.int64)
    layout = SequenceLayout.from_lengths(len(sequence) for sequence in sequences)
    return Batch(torch.from_numpy(np.concatenate(sequences)), layout, {**fields, "text_key": text_keys})


def places(first: int, count: int) -> Tensor:
    """(count,) int64: the sequences from ``first`` on."""
    return torch.arange(first, first + count)


def negatives_of(examples: Examples) -> tuple[list[NDArray[np.int64]], Tensor]:
    """All negatives, example by example, and (K,) which example each is of."""
    counts = [len(example.get("negatives", ())) for example in examples]
    found = [sequence for example in examples for sequence in example.get("negatives", ())]
    return found, torch.from_numpy(np.repeat(np.arange(len(examples)), counts))


def stacked(examples: Examples, role: str) -> dict[str, Tensor]:
    """(B, width) float32 of lists of numbers under their role; nothing where the data has none."""
    if role not in examples[0]:
        return {}
    rows = [np.asarray(example[role], dtype=np.float32) for example in examples]
    if len({len(row) for row in rows}) > 1:
        msg = f"examples of one batch have {role} of several lengths: {', '.join(str(len(row)) for row in rows)}"
        raise UserError(msg)
    return {role: torch.from_numpy(np.stack(rows))}
