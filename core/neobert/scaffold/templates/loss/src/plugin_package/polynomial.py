"""A loss with a vocabulary head.

Shapes: M masked tokens, C hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from neobert import Batch, LossOutput
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from neobert.interfaces import Encoder


class PolynomialLoss(nn.Module):
    """Sum over masked tokens of -log p + epsilon * (1 - p), with p for the token that was there."""

    def __init__(self, encoder: Encoder, epsilon: float) -> None:
        super().__init__()
        # In a tuple, so that the encoder does not become a submodule of its loss.
        self._encoder = (encoder,)
        self.epsilon = epsilon

    def forward(self, encoder: Encoder, batch: Batch) -> LossOutput:
        """A **sum** and what to divide it by: only the core divides. Logged too: ``train/cross_entropy``."""
        labels = batch.fields["labels"]
        hidden = encoder(batch.input_ids, batch.layout, batch.fields["masked_positions"])
        logits = self.logits(encoder, hidden)
        precise = torch.promote_types(logits.dtype, torch.float32)
        entropy = F.cross_entropy(logits.to(precise), labels, reduction="none")
        total = (entropy - self.epsilon * torch.expm1(-entropy)).sum()
        count = labels.new_full((), labels.numel())
        return LossOutput(total, count, {"cross_entropy": entropy.detach().sum()})

    def logits(self, encoder: Encoder, hidden: Tensor) -> Tensor:
        """hidden (M, C) -> (M, V): for evaluation, guesses and export."""
        return F.linear(hidden, encoder.input_embedding.weight)

    def head_state(self) -> dict[str, Tensor]:
        """The head as an export writes it: the encoder's embedding, and no bias."""
        return {"weight": self._encoder[0].input_embedding.weight}
