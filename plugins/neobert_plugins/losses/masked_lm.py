"""Masked language modelling where only what is masked is computed.

Shapes: T tokens in the stream, M masked tokens, C hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neobert import Batch, LossOutput
from neobert_plugins.losses.chunked import PLAIN, Terms, linear_cross_entropy_sum
from neobert_plugins.losses.head import WithHead

if TYPE_CHECKING:
    from neobert.interfaces import Encoder


class MaskedLMLoss(WithHead):
    """Needs ``masked_positions`` (M,) and ``labels`` (M,) in the batch. Never holds all (M, V) logits.

    ``terms`` are for training: an evaluation is the cross-entropy alone, whatever a model was trained with.
    """

    def __init__(self, encoder: Encoder, terms: Terms = PLAIN) -> None:
        super().__init__(encoder)
        self._terms = terms

    def forward(self, encoder: Encoder, batch: Batch) -> LossOutput:
        """The loss summed over masked tokens, and their number."""
        labels = batch.fields["labels"]
        hidden_MC = encoder(batch.input_ids, batch.layout, batch.fields["masked_positions"])
        terms = self._terms if self.training else PLAIN
        total = linear_cross_entropy_sum(hidden_MC, self.decoder.matrix(encoder), self.decoder.bias, labels, terms)
        return LossOutput(total, labels.new_full((), labels.numel()))
