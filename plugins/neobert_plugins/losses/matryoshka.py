"""One loss on embeddings of several sizes, each the beginning of the next (Kusupati et al. 2022, arXiv:2205.13147).

Shapes: T tokens in the stream, N sequences, E embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neobert import Batch, LossOutput, SentenceHead, SequenceLayout

if TYPE_CHECKING:
    from neobert.interfaces import Encoder


class MatryoshkaLoss(nn.Module):
    """The sum of weight times the inner loss's total over sizes. Its count and metrics are those of the whole size;
    beside them ``dim_SIZE/loss`` and ``dim_SIZE/METRIC`` for each of the others.
    """

    def __init__(self, inner: Any, weights: Mapping[int, float]) -> None:
        super().__init__()
        self.inner = inner
        self._weights = dict(sorted(weights.items(), reverse=True))

    def forward(self, encoder: Encoder, batch: Batch) -> LossOutput:
        """The loss of a batch."""
        embeddings = self.inner.embed(encoder, batch.input_ids, batch.layout)[: batch.num_sequences]
        return self.losses_from(embeddings, batch)

    def losses_from(self, embeddings: Tensor, batch: Batch) -> LossOutput:
        """embeddings (N, E), E being the largest size."""
        normalize = self.inner.sentence_head().normalize
        totals, first, metrics = [], None, {}
        for size, weight in self._weights.items():
            cut = embeddings
            if size < embeddings.shape[1]:
                cut = embeddings[:, :size]
                cut = F.normalize(cut, dim=-1) if normalize else cut
            output = self.inner.losses_from(cut, batch)
            totals.append(output.total * weight)
            if first is None:
                first = output
                metrics = dict(output.metrics)
            else:
                of_size = {"loss": output.total.detach(), **output.metrics}
                metrics |= {f"dim_{size}/{name}": value for name, value in of_size.items()}
        assert first is not None
        return LossOutput(torch.stack(totals).sum(), first.count, metrics)

    def embed(self, encoder: Encoder, input_ids: Tensor, layout: SequenceLayout) -> Tensor:
        """input_ids (T,) -> (N, E), of the whole size."""
        embeddings: Tensor = self.inner.embed(encoder, input_ids, layout)
        return embeddings

    def sentence_head(self) -> SentenceHead:
        """That of the loss inside."""
        head: SentenceHead = self.inner.sentence_head()
        return head
