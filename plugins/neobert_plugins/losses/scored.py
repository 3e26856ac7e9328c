"""Losses of scored pairs: by rank, and by value.

Shapes: B pairs of this rank, M pairs of all ranks, E embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from neobert import LossOutput
from neobert.contrast import EmbeddingLoss

if TYPE_CHECKING:
    from neobert.contrast import Embedder


class CoSENTLoss(EmbeddingLoss):
    """Needs ``first`` (B,), ``second`` (B,) and ``score`` (B,) in the batch.

    A batch has one loss: log(1 + sum of exp((cos_j - cos_i) / temperature) over all i, j with score_i > score_j). Its
    total is that times its number of pairs, which is the count, so that pairs weigh alike in a step; a batch in which
    all scores are the same has none.
    """

    def __init__(self, embedder: Embedder, needs: tuple[str, ...], temperature: float) -> None:
        super().__init__(embedder, needs)
        self._scale = 1.0 / temperature

    def compare(self, embeddings: Tensor, fields: Mapping[str, Tensor]) -> LossOutput:
        """The batch's loss times its number of pairs, and that number."""
        cosines, score = _cosines(embeddings, fields), fields["score"]
        cosines_M, score_M = self.candidates(cosines, score).tensors
        if not len(score_M):
            return LossOutput(cosines.sum(), score.new_zeros((), dtype=torch.int64))
        counted = (score_M.amax() > score_M.amin()) * len(score)
        return LossOutput(ranking_loss(cosines_M * self._scale, score_M) * counted, counted)


class CosineMSELoss(EmbeddingLoss):
    """Needs ``first`` (B,), ``second`` (B,) and ``score`` (B,) in the batch: (cos - score / max_score)², summed."""

    def __init__(self, embedder: Embedder, needs: tuple[str, ...], max_score: float) -> None:
        super().__init__(embedder, needs)
        self._max_score = max_score

    def compare(self, embeddings: Tensor, fields: Mapping[str, Tensor]) -> LossOutput:
        """The squares summed, and their number."""
        cosines, score = _cosines(embeddings, fields), fields["score"]
        missed = cosines - score.to(cosines.dtype) / self._max_score
        return LossOutput(missed.square().sum(), score.new_full((), len(score), dtype=torch.int64))


def ranking_loss(values: Tensor, score: Tensor) -> Tensor:
    """log(1 + sum of exp(value_j - value_i) over all i, j with score_i > score_j), from (M,) both, M at least 1.

    With pairs in the order of their scores the sum over j is one over those before i: M log M steps, and no (M, M).
    """
    order = score.argsort()
    values, score = values[order], score[order]
    before = torch.searchsorted(score, score)
    summed = values.logcumsumexp(0)[(before - 1).clamp(min=0)] - values
    summed = summed.masked_fill(before == 0, -math.inf)
    return torch.cat((summed.new_zeros(1), summed)).logsumexp(0)


def _cosines(embeddings: Tensor, fields: Mapping[str, Tensor]) -> Tensor:
    """(B,): of each pair."""
    return F.cosine_similarity(embeddings[fields["first"]], embeddings[fields["second"]], dim=-1)
