"""From token ids to embeddings: encoded, pooled, projected, normalised.

Shapes: T tokens in the stream, N sequences, C hidden size, E embedding size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neobert.contrast.chunks import pool_in_chunks
from neobert.contrast.pooling import pool
from neobert.interfaces import SentenceHead

if TYPE_CHECKING:
    from neobert.batch import SequenceLayout
    from neobert.contrast.options import Pooling
    from neobert.interfaces import Encoder


class Embedder(nn.Module):
    """Owns the projection, if there is one; the encoder is given to each call.

    What comes after the encoder is computed in float32 at least, under autocast too.
    """

    def __init__(
        self,
        hidden_size: int,
        pooling: Pooling = "mean",
        *,
        normalize: bool = True,
        projection_size: int | None = None,
        projection_bias: bool = False,
        chunk_tokens: int | None = None,
    ) -> None:
        super().__init__()
        self.pooling: Pooling = "mean" if pooling == "avg" else pooling
        self.normalize = normalize
        self.chunk_tokens = chunk_tokens
        self.embedding_size = projection_size or hidden_size
        self.projection = None
        if projection_size is not None:
            self.projection = nn.Linear(hidden_size, projection_size, bias=projection_bias)

    def forward(
        self, encoder: Encoder, input_ids: Tensor, layout: SequenceLayout, num_sequences: int | None = None
    ) -> Tensor:
        """input_ids (T,) -> (N, E): the first ``num_sequences`` of the layout (default: all)."""
        if self.chunk_tokens is None:
            pooled_NC = pool(encoder, input_ids, layout, self.pooling, num_sequences)
        else:
            pooled_NC = pool_in_chunks(
                encoder,
                input_ids,
                layout,
                self.pooling,
                num_sequences=num_sequences,
                chunk_tokens=self.chunk_tokens,
            )
        with torch.autocast(pooled_NC.device.type, enabled=False):
            embeddings: Tensor = pooled_NC if self.projection is None else self.projection(pooled_NC)
            return F.normalize(embeddings, dim=-1) if self.normalize else embeddings

    def sentence_head(self) -> SentenceHead:
        """The same in data, with the parameters themselves."""
        layer = self.projection
        projection = None if layer is None else (layer.weight, layer.bias)
        return SentenceHead(pooling=self.pooling, normalize=self.normalize, projection=projection)
