"""Masked language modelling from the logits of every token: what `masked_lm` is compared with.

Shapes: T tokens in the stream, M masked tokens, C hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from neobert import Batch, LossOutput
from neobert_plugins.losses.head import WithHead

if TYPE_CHECKING:
    from neobert.interfaces import Encoder

IGNORED = -100
"""The label of a token that is not masked."""


class FullLogitsLMLoss(WithHead):
    """The same loss, gradient and parameters as `MaskedLMLoss`, in the memory of (T, V) logits."""

    def forward(self, encoder: Encoder, batch: Batch) -> LossOutput:
        """The cross-entropy summed over masked tokens, and their number."""
        labels = batch.fields["labels"]
        logits_TV = self.logits(encoder, encoder(batch.input_ids, batch.layout))
        labels_T = torch.full_like(batch.input_ids, IGNORED).index_copy(0, batch.fields["masked_positions"], labels)
        precise = torch.promote_types(logits_TV.dtype, torch.float32)
        total = F.cross_entropy(logits_TV.to(precise), labels_T, ignore_index=IGNORED, reduction="sum")
        return LossOutput(total, labels.new_full((), labels.numel()))
