"""What a prediction head does to hidden states.

Shapes: T tokens in the stream, N sequences, C hidden size, K classes, or 1 for a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import Tensor
from torch.nn import functional as F

from neobert.contrast.pooling import pool_hidden

if TYPE_CHECKING:
    from neobert.batch import SequenceLayout
    from neobert.contrast.options import Pooling
    from neobert.interfaces import PredictionHead


def apply_prediction_head(hidden: Tensor, layout: SequenceLayout, head: PredictionHead) -> Tensor:
    """hidden (T, C) -> (N, K), of each sequence of the layout; without dropout."""
    if head.pooling == "late":
        return pool_hidden(_through(hidden, head), layout, "mean")
    return _through(pool_hidden(hidden, layout, cast("Pooling", head.pooling)), head)


def _through(vectors: Tensor, head: PredictionHead) -> Tensor:
    return F.linear(F.gelu(F.linear(vectors, *head.dense)), *head.output)
