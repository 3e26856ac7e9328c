"""A loss with a head of its own.

Shapes: T tokens in the stream, M masked tokens, C hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neobert import Batch, LossOutput

if TYPE_CHECKING:
    from neobert.interfaces import Encoder


class FocalLoss(nn.Module):
    """Sum over masked tokens of (1 - p) ** gamma * -log p, with p for the token that was there.

    Needs ``masked_positions`` (M,) and ``labels`` (M,) in the batch, as the collator ``mlm`` makes them. The
    head is the encoder's embedding and a bias for each token.
    """

    def __init__(self, encoder: Encoder, gamma: float) -> None:
        super().__init__()
        # In a tuple, so that the encoder does not become a submodule of its loss.
        self._encoder = (encoder,)
        self.gamma = gamma
        self.bias = nn.Parameter(encoder.input_embedding.weight.new_zeros(encoder.vocab_size))

    def forward(self, encoder: Encoder, batch: Batch) -> LossOutput:
        """A sum and the number of masked tokens; the core divides. Logged too: ``train/cross_entropy``."""
        labels = batch.fields["labels"]
        hidden = encoder(batch.input_ids, batch.layout, batch.fields["masked_positions"])
        logits = self.logits(encoder, hidden)
        precise = torch.promote_types(logits.dtype, torch.float32)
        entropy = F.cross_entropy(logits.to(precise), labels, reduction="none")
        # A token that is certain has 1 - p = 0, where a power below one has no finite slope.
        missed = (-torch.expm1(-entropy)).clamp_min(torch.finfo(precise).tiny)
        return LossOutput(
            (missed**self.gamma * entropy).sum(),
            labels.new_full((), labels.numel()),
            {"cross_entropy": entropy.detach().sum()},
        )

    def logits(self, encoder: Encoder, hidden: Tensor) -> Tensor:
        """hidden (M, C) -> (M, V): for evaluation, guesses and export."""
        return F.linear(hidden, encoder.input_embedding.weight, self.bias)

    def head_state(self) -> dict[str, Tensor]:
        """The head as an export writes it."""
        return {"weight": self._encoder[0].input_embedding.weight, "bias": self.bias}
