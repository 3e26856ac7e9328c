"""Supervised contrastive learning (Khosla et al. 2020, arXiv:2004.11362), the form with the sum outside the logarithm.

Shapes: B texts of this rank, M of all ranks, R of a block, E embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neobert import LossOutput
from neobert.contrast import EmbeddingLoss, sum_in_blocks

if TYPE_CHECKING:
    from neobert.contrast import Embedder, Temperature


class SupConLoss(EmbeddingLoss):
    """Needs ``text`` (B,) and ``label`` (B,) in the batch. A text without another of its label has no term."""

    def __init__(self, embedder: Embedder, needs: tuple[str, ...], temperature: Temperature) -> None:
        super().__init__(embedder, needs)
        self.temperature = temperature

    def compare(self, embeddings: Tensor, fields: Mapping[str, Tensor]) -> LossOutput:
        """The terms summed, and how many there are."""
        scale = self.temperature()
        mine = embeddings[fields["text"]]
        others = self.candidates(mine, fields["label"])
        vectors, labels = others.tensors
        places = torch.arange(len(labels), device=labels.device)

        def block(z: Tensor, label: Tensor, place: Tensor) -> tuple[Tensor, ...]:
            itself = places == place.unsqueeze(1)
            alike = (labels == label.unsqueeze(1)) & ~itself
            number = alike.sum(1)
            counted = number > 0
            scores = z @ vectors.T
            logits = scores * scale
            # A text that has no term keeps itself in its denominator, which would be empty if it were the only one.
            together = logits.masked_fill(itself & counted.unsqueeze(1), -math.inf).logsumexp(1)
            drawn = logits.masked_fill(~alike, 0.0).sum(1) / number.clamp(min=1)
            losses = torch.where(counted, together - drawn, 0.0)
            different = (labels != label.unsqueeze(1)).sum(1)
            right = _highest(scores, alike) > _highest(scores, ~(alike | itself))
            return losses.sum(), counted.sum(), (different * counted).sum(), (right & counted).sum()

        place = torch.arange(len(mine), device=labels.device) + others.start
        total, count, negatives, right = sum_in_blocks(block, (mine, fields["label"], place), len(labels))
        metrics = {"negatives": negatives, "accuracy": right, **self.temperature.metrics(count)}
        return LossOutput(total, count, metrics)


def _highest(scores: Tensor, among: Tensor) -> Tensor:
    """(R, M) -> (R,), minus infinity for a row with none."""
    masked = scores.detach().masked_fill(~among, -math.inf)
    return torch.cat((masked, masked.new_full((len(masked), 1), -math.inf)), 1).amax(1)
