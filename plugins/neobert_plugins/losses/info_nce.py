"""Contrastive learning by cross-entropy over the candidates of a batch (van den Oord et al. 2018, arXiv:1807.03748).

Shapes: B examples of this rank, K hard negatives of theirs, M candidates of all ranks, R queries of a block,
E embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor

from neobert import LossOutput
from neobert.contrast import EmbeddingLoss, sum_in_blocks
from neobert.contrast.loss import require_fields

if TYPE_CHECKING:
    from neobert.contrast import Embedder, Temperature


@frozen(eq=False)
class _Candidates:
    """What one side of the examples is compared with."""

    embeddings: Tensor
    """(M, E)."""
    keys: Tensor
    """(M,): of their texts."""
    owner: Tensor
    """(M,): the example of this rank whose hard negative it is; -1 for all others."""

    def __len__(self) -> int:
        return len(self.keys)


class InfoNCELoss(EmbeddingLoss):
    """Needs ``query`` (B,), ``positive`` (B,) and ``text_key`` (N,) in the batch; ``negative`` (K,) with
    ``negative_of`` (K,) may be there, any number for each query.

    A query without a single negative has no term.
    """

    def __init__(
        self,
        embedder: Embedder,
        needs: tuple[str, ...],
        temperature: Temperature,
        *,
        hard_negative_weight: float = 1.0,
        symmetric: bool = False,
        margin: float = 0.0,
    ) -> None:
        super().__init__(embedder, needs)
        self.temperature = temperature
        self._log_weight = math.log(hard_negative_weight)
        self._symmetric = symmetric
        self._margin = margin

    def compare(self, embeddings: Tensor, fields: Mapping[str, Tensor]) -> LossOutput:
        """The terms summed, and how many there are."""
        if "negative" in fields:
            require_fields(("negative_of",), fields)
        scale = self.temperature()
        query, positive, keys = fields["query"], fields["positive"], fields["text_key"]
        answers = self._answers(embeddings, fields)
        askers = self._queries(embeddings, fields) if self._symmetric else None

        def block(q: Tensor, p: Tensor, query_key: Tensor, positive_key: Tensor, number: Tensor) -> tuple[Tensor, ...]:
            texts = torch.stack((query_key, positive_key), 1)
            losses, negatives, right = self._one_way(q, p, texts, number, answers, scale)
            counted = negatives > 0
            if askers is not None:
                back, others, _ = self._one_way(p, q, texts, number, askers, scale)
                losses, counted = (losses + back) / 2, counted | (others > 0)
            return losses.sum(), counted.sum(), negatives.sum(), (right & counted).sum()

        number = torch.arange(len(query), device=query.device)
        rows = (embeddings[query], embeddings[positive], keys[query], keys[positive], number)
        columns = len(answers) + (len(askers) if askers is not None else 0)
        total, count, negatives, right = sum_in_blocks(block, rows, columns)
        metrics = {"negatives": negatives, "accuracy": right, **self.temperature.metrics(count)}
        return LossOutput(total, count, metrics)

    def _answers(self, embeddings: Tensor, fields: Mapping[str, Tensor]) -> _Candidates:
        """All positives and hard negatives, of all ranks in training."""
        positive, keys = fields["positive"], fields["text_key"]
        negative = fields.get("negative", positive[:0])
        mine = torch.cat((positive, negative))
        rows = self.candidates(embeddings[mine], keys[mine])
        vectors, texts = rows.tensors
        owner = torch.full_like(texts, -1)
        if "negative" in fields:
            start = rows.start + len(positive)
            owner[start : start + len(negative)] = fields["negative_of"]
        return _Candidates(vectors, texts, owner)

    def _queries(self, embeddings: Tensor, fields: Mapping[str, Tensor]) -> _Candidates:
        query, keys = fields["query"], fields["text_key"]
        vectors, texts = self.candidates(embeddings[query], keys[query]).tensors
        return _Candidates(vectors, texts, torch.full_like(texts, -1))

    def _one_way(
        self, a: Tensor, b: Tensor, texts: Tensor, number: Tensor, others: _Candidates, scale: Tensor | float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """For each ``a`` (R, E), whose partner is ``b`` (R, E): the loss, how many negatives it has, and whether its
        partner is nearest. A candidate that is one of the two ``texts`` (R, 2) of the example is no negative.
        """
        near = (a * b).sum(-1)
        scores = a @ others.embeddings.T
        skipped = (others.keys == texts[:, :1]) | (others.keys == texts[:, 1:])
        right = (near.unsqueeze(1) > scores.detach().masked_fill(skipped, -math.inf)).all(1)
        logit = (near - self._margin) * scale
        logits = (scores * scale).masked_fill(skipped, -math.inf)
        if self._log_weight:
            logits = logits + self._log_weight * (others.owner == number.unsqueeze(1)).to(logits.dtype)
        losses = torch.cat((logit.unsqueeze(1), logits), 1).logsumexp(1) - logit
        return losses, (~skipped).sum(1), right
