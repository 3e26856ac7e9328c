"""Collators of texts by role: no text is changed and nothing is drawn, so the generator is not used.

Shapes: B examples, N sequences, K negatives, D the teacher's embedding size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from neobert.roles import PAIR
from neobert_plugins.collators.role_stream import Examples, batch_of, negatives_of, places, stacked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from neobert.batch import Batch


def pairs(examples: Examples, rng: np.random.Generator) -> Batch:
    """All queries, then all positives, then all negatives, example by example.

    Fields: ``query`` and ``positive`` (B,), which sequence is each example's; where the data has negatives ``negative``
    (K,) and ``negative_of`` (K,), the example of each; ``text_key`` (N,); where the data has them ``teacher_scores``
    (B, 1 + negatives an example) and ``teacher_vector`` (B, D), float32.
    """
    count = len(examples)
    negatives, owners = negatives_of(examples)
    fields = {"query": places(0, count), "positive": places(count, count)}
    if any("negatives" in example for example in examples):
        fields |= {"negative": places(2 * count, len(negatives)), "negative_of": owners}
    fields |= stacked(examples, "teacher_scores") | stacked(examples, "teacher_vector")
    sequences = [example[role] for role in ("query", "positive") for example in examples]
    return batch_of([*sequences, *negatives], fields)


def sentences(examples: Examples, rng: np.random.Generator) -> Batch:
    """Every sentence twice: sequences i and B + i are the same tokens, which dropout makes two views of.

    Fields: ``query`` (B,), the first copies; ``positive`` (B,), the second; ``sentence`` (2B,), all of them;
    ``text_key`` (2B,).
    """
    count = len(examples)
    once = [example["sentence"] for example in examples]
    fields = {"query": places(0, count), "positive": places(count, count), "sentence": places(0, 2 * count)}
    return batch_of([*once, *once], fields)


def labelled(examples: Examples, rng: np.random.Generator) -> Batch:
    """Fields: ``text`` (B,), which sequence is each example's; ``label`` (B,) int64; ``text_key`` (B,).

    Of two texts that are joined, ``text`` is the pair's one sequence.
    """
    labels = torch.tensor([example["label"] for example in examples], dtype=torch.int64)
    return batch_of(_sequences(examples), {"text": places(0, len(examples)), "label": labels})


def scored(examples: Examples, rng: np.random.Generator) -> Batch:
    """Fields: ``text`` (B,), as `labelled` has it; ``score`` (B,) float32; ``text_key`` (B,)."""
    return batch_of(_sequences(examples), {"text": places(0, len(examples)), "score": _scores(examples)})


def scored_pairs(examples: Examples, rng: np.random.Generator) -> Batch:
    """All first sentences, then all second ones.

    Fields: ``first`` and ``second`` (B,), which sequence is which; ``score`` (B,) float32; ``text_key`` (2B,).
    """
    count = len(examples)
    fields = {"first": places(0, count), "second": places(count, count), "score": _scores(examples)}
    return batch_of([example[role] for role in ("sentence1", "sentence2") for example in examples], fields)


def _sequences(examples: Examples) -> list[NDArray[np.int64]]:
    return [example[PAIR] if PAIR in example else example["text"] for example in examples]


def _scores(examples: Examples) -> Tensor:
    return torch.tensor([example["score"] for example in examples], dtype=torch.float32)
