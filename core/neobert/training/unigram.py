"""The figure that shows whether a model learned context: how well frequency alone guesses the same tokens."""

from __future__ import annotations

import numpy as np

from neobert.data import EvaluationData
from neobert.training.positions import LABELS, MASKED_POSITIONS


def asks_for_tokens(data: EvaluationData) -> bool:
    """Whether batches have masked tokens: counting those of all documents is for nothing otherwise."""
    first = next(iter(data), None)
    return first is not None and {MASKED_POSITIONS, LABELS} <= set(first.fields)


def unigram_cross_entropy(token_counts: np.ndarray, data: EvaluationData) -> float | None:
    """Nats a token of an add-one-smoothed unigram model, (V,) counts of the training tokens, on the held-out masked
    tokens. None where batches have no masked tokens: `labels` may be anything then.
    """
    log_probabilities = np.log(token_counts + 1.0) - np.log(token_counts.sum() + len(token_counts))
    total, count = 0.0, 0
    for batch in data:
        if MASKED_POSITIONS not in batch.fields or LABELS not in batch.fields:
            return None
        labels = batch.fields[LABELS].numpy()
        total -= float(log_probabilities[labels].sum())
        count += len(labels)
    return total / count if count else None
