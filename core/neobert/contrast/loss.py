"""What every loss that makes embeddings is, but for what it makes of them.

Shapes: T tokens in the stream, N sequences, E embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from neobert.batch import Batch, SequenceLayout
from neobert.contrast.embedder import Embedder
from neobert.contrast.ranks import Rows, gathered, own
from neobert.errors import UserError
from neobert.interfaces import LossOutput, SentenceHead
from neobert.wording import listed

if TYPE_CHECKING:
    from neobert.interfaces import Encoder


class EmbeddingLoss(nn.Module):
    """Inherit it and write `compare`.

    ``needs`` are the fields that a batch must have: what the options class states as ``needs_fields``.
    """

    def __init__(self, embedder: Embedder, needs: tuple[str, ...]) -> None:
        super().__init__()
        self.embedder = embedder
        self.needs = needs

    def compare(self, embeddings: Tensor, fields: Mapping[str, Tensor]) -> LossOutput:
        """embeddings (N, E), in float32 at least and outside autocast, and the batch's fields -> the loss."""
        raise NotImplementedError

    def forward(self, encoder: Encoder, batch: Batch) -> LossOutput:
        """The loss of a batch, its padding sequence left out."""
        require_fields(self.needs, batch.fields)
        return self.losses_from(self.embedder(encoder, batch.input_ids, batch.layout, batch.num_sequences), batch)

    def losses_from(self, embeddings: Tensor, batch: Batch) -> LossOutput:
        """The loss of a batch whose sequences have these embeddings (N, E), of whatever size E.

        They are as `embed` gives them, or a part of that, normalised again where `sentence_head` says so.
        """
        require_fields(self.needs, batch.fields)
        with torch.autocast(embeddings.device.type, enabled=False):
            precise = torch.promote_types(embeddings.dtype, torch.float32)
            return self.compare(embeddings.to(precise), batch.fields)

    def embed(self, encoder: Encoder, input_ids: Tensor, layout: SequenceLayout) -> Tensor:
        """input_ids (T,) -> (N, E), of every sequence of the layout: what an export computes."""
        embeddings: Tensor = self.embedder(encoder, input_ids, layout)
        return embeddings

    def sentence_head(self) -> SentenceHead:
        """What `embed` does after the encoder."""
        return self.embedder.sentence_head()

    def candidates(self, *tensors: Tensor) -> Rows:
        """Rows to compare with: those of all ranks in training. An evaluation has its own alone, so that its result
        does not depend on how many processes there are.
        """
        return gathered(*tensors) if self.training else own(*tensors)


def require_fields(needs: tuple[str, ...], fields: Mapping[str, Tensor]) -> None:
    """Raises UserError for those that are not there."""
    missing = [name for name in needs if name not in fields]
    if missing:
        msg = (
            f"the loss needs {listed(needs)} in every batch, and this one has no {listed(missing, 'nor')}; "
            f"it has {listed(sorted(fields)) or 'none'}\n"
            "they come from [datacollator], and some of them only where the dataset has a column for them"
        )
        raise UserError(msg)
