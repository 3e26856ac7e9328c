"""What a sentence head does to hidden states."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import Tensor
from torch.nn import functional as F

from neobert.contrast.pooling import pool_hidden

if TYPE_CHECKING:
    from neobert.batch import SequenceLayout
    from neobert.contrast.options import Pooling
    from neobert.interfaces import SentenceHead


def apply_head(hidden: Tensor, layout: SequenceLayout, head: SentenceHead) -> Tensor:
    """hidden (T, C) -> (N, E), of each sequence of the layout: pooled, projected, normalised."""
    pooled = pool_hidden(hidden, layout, cast("Pooling", head.pooling))
    projected = pooled if head.projection is None else F.linear(pooled, *head.projection)
    return F.normalize(projected, dim=-1) if head.normalize else projected
