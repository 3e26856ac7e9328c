"""The held-out loss by a token's position in its sequence: whether a model reads as well at the end of its context.

A difference between two evaluations is told from noise by documents: the same tokens are masked both times, so each
document has its own difference, and how these scatter says how sure their mean is. Tokens of one document are not
independent, so they are never counted as if they were.

Shapes: M masked tokens, N sequences, B buckets, G groups of documents, C hidden size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from attrs import field, frozen
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from neobert.batch import Batch
from neobert.training.meter import sum_dtype
from neobert.training.ranks import ALONE, Ranks

MASKED_POSITIONS, LABELS = "masked_positions", "labels"
"""Fields of a masked-token batch."""
GROUPS = 256
"""Documents are summed in so many groups, document d in group d % GROUPS: as many numbers however much is evaluated."""
CHUNK_LOGITS = 1 << 23
"""Logits held at once: 32 MiB of float32."""


@frozen
class PositionLosses:
    """Sums of one evaluation: what it comes to, and what another is compared with."""

    edges: tuple[int, ...]
    """(B + 1,) from 0 to the longest that a sequence may be; bucket i is ``edges[i]:edges[i + 1]``."""
    totals: NDArray[np.float64] = field(repr=False, eq=False)
    """(B, G) losses summed, in nats."""
    counts: NDArray[np.int64] = field(repr=False, eq=False)
    """(B, G) masked tokens."""

    @property
    def names(self) -> tuple[str, ...]:
        """``0-512`` and so on."""
        return tuple(f"{start}-{stop}" for start, stop in pairwise(self.edges))

    def means(self) -> dict[str, float]:
        """Nats a token of each bucket that has one, as ``loss_at/0-512``."""
        rows = zip(self.names, self.totals.sum(1), self.counts.sum(1), strict=True)
        return {f"loss_at/{name}": float(total / count) for name, total, count in rows if count}

    def compared_with(self, before: PositionLosses | None) -> list[PositionRow]:
        """A row a bucket; what was before only where it was measured on the same tokens."""
        if before is None or self.edges != before.edges or not np.array_equal(self.counts, before.counts):
            rows = zip(self.names, self.totals, self.counts, strict=True)
            return [PositionRow(name, int(count.sum()), None, _mean(total, count)) for name, total, count in rows]
        both = zip(self.names, before.totals, self.totals, self.counts, strict=True)
        return [
            PositionRow(name, int(count.sum()), _mean(old, count), _mean(new, count), *mean_and_noise(new - old, count))
            for name, old, new, count in both
        ]

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint: a resumed run compares with what was before its first step."""
        return {"edges": list(self.edges), "totals": self.totals.tolist(), "counts": self.counts.tolist()}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> PositionLosses:
        """What `to_json` wrote."""
        totals, counts = np.array(said["totals"], dtype=np.float64), np.array(said["counts"], dtype=np.int64)
        return cls(tuple(said["edges"]), totals, counts)


@frozen
class PositionRow:
    """What became of one bucket."""

    name: str
    tokens: int
    """Masked tokens whose loss it is."""
    before: float | None
    after: float | None
    """Nats a token; None where the bucket has none."""
    difference: float | None = None
    noise: float | None = None
    """The standard error of the difference, over documents; None where fewer than two have tokens here."""


class PositionMeter:
    """Adds up an evaluation's losses on the device, by bucket and by group of documents."""

    def __init__(self, edges: Sequence[int], max_seq_length: int, device: torch.device) -> None:
        self.edges = (0, *(edge for edge in edges if 0 < edge < max_seq_length), max_seq_length)
        self.missed: str | None = None
        """Why there is nothing to add up, where that is so."""
        self._inner = torch.tensor(self.edges[1:-1], dtype=torch.int64, device=device)
        size = (len(self.edges) - 1) * GROUPS
        self._totals = torch.zeros(size, dtype=sum_dtype(device), device=device)
        self._counts = torch.zeros(size, dtype=torch.int64, device=device)

    def anew(self) -> PositionMeter:
        """The same, with nothing added up."""
        return PositionMeter(self.edges, self.edges[-1], self._totals.device)

    def add(self, batch: Batch, documents: NDArray[np.int64], losses: Tensor) -> None:
        """``documents`` (N,): which one each sequence is of; ``losses`` (M,): of the masked tokens, in their order.

        No value is read back from the device.
        """
        masked, layout = batch.fields[MASKED_POSITIONS], batch.layout
        # A position at an edge belongs to the bucket that begins there.
        buckets = torch.bucketize(layout.position_ids[masked], self._inner, right=True)
        groups = torch.from_numpy(documents % GROUPS).to(masked.device, non_blocking=True)
        sequences = torch.searchsorted(layout.cu_seqlens.long(), masked, right=True) - 1
        cells = (buckets * GROUPS + groups[sequences],)
        # Sorts on a GPU, where adding in any order would give other bits each time.
        self._totals.index_put_(cells, losses.to(self._totals.dtype), accumulate=True)
        self._counts.index_put_(cells, torch.ones_like(masked), accumulate=True)

    def read(self, ranks: Ranks = ALONE) -> PositionLosses | None:
        """What all ``ranks`` have added, without groups that no document is in; None where nothing could be."""
        self.missed = next((missed for missed in ranks.gather(self.missed) if missed is not None), None)
        if self.missed is not None:
            return None
        ranks.sum_tensor(self._totals)
        ranks.sum_tensor(self._counts)
        totals = self._totals.cpu().double().numpy().reshape(-1, GROUPS)
        counts = self._counts.cpu().numpy().reshape(-1, GROUPS)
        filled = counts.any(0)
        return PositionLosses(self.edges, totals[:, filled], counts[:, filled])


def token_losses(loss: Any, encoder: Any, hidden: Tensor, labels: Tensor) -> Tensor:
    """hidden (M, C), labels (M,) -> the cross-entropy of each, (M,); logits come in chunks of rows."""
    rows = max(1, CHUNK_LOGITS // encoder.vocab_size)
    parts = []
    for states, targets in zip(torch.split(hidden, rows), torch.split(labels, rows), strict=True):
        logits = loss.logits(encoder, states)
        precise = torch.promote_types(logits.dtype, torch.float32)
        parts.append(F.cross_entropy(logits.to(precise), targets, reduction="none"))
    return torch.cat(parts)


def mean_and_noise(differences: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float | None, float | None]:
    """(G,) sums of differences and of tokens -> the mean difference a token, and its standard error.

    The usual estimate for a ratio of sums over clusters (Cochran, Sampling Techniques, 1977, section 6.3).
    """
    held = counts > 0
    differences, counts = differences[held], counts[held]
    if not len(counts):
        return None, None
    mean = float(differences.sum() / counts.sum())
    if len(counts) < 2:
        return mean, None
    deviations = differences - mean * counts
    spread = len(counts) / (len(counts) - 1) * float(np.square(deviations).sum())
    return mean, math.sqrt(spread) / float(counts.sum())


def _mean(totals: NDArray[np.float64], counts: NDArray[np.int64]) -> float | None:
    return float(totals.sum() / counts.sum()) if counts.any() else None
