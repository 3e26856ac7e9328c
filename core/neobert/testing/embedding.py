"""What a loss promises that makes embeddings, and batches that all of them can learn from.

Shapes: B examples, N sequences, C hidden size, E embedding size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F

from neobert.batch import Batch, SequenceLayout
from neobert.interfaces import SentenceHead
from neobert.seeding import derive_seed
from neobert.testing.context import LENGTHS, make_sequences, per_sequence
from neobert.testing.promises import require, require_all_close, require_close

if TYPE_CHECKING:
    from neobert.interfaces import LossOutput
    from neobert.testing.encoder import TinyEncoder

TEACHER_SIZE = 8
"""D of ``teacher_vector``, as many as `TinyEncoder` has features."""
_LABELS = 2
_TOLERANCE = 1e-8


@frozen(eq=False)
class Example:
    """A query with its positive and one hard negative, which is also a text with a label, and a scored pair."""

    query: Tensor
    positive: Tensor
    negative: Tensor

    @property
    def texts(self) -> tuple[Tensor, Tensor, Tensor]:
        return (self.query, self.positive, self.negative)

    def draw(self, *shape: int) -> Tensor:
        """Numbers that belong to these texts."""
        generator = torch.Generator().manual_seed(derive_seed("example", *self.query.tolist(), *self.positive.tolist()))
        return torch.randn(shape, generator=generator)


def make_examples() -> list[Example]:
    """Six, of sequences of many lengths; none shares a text with another."""
    texts = [make_sequences(LENGTHS, seed=seed) for seed in range(3)]
    return [Example(*three) for three in zip(*texts, strict=True)]


def embedding_batch(examples: Sequence[Example], *, shuffled: bool = False) -> Batch:
    """The fields of every built-in collator for such losses at once: all queries, all positives, all negatives.

    ``shuffled``: the sequences stand in the stream in some other order, which the fields follow.
    """
    count = len(examples)
    sequences = [sequence for texts in zip(*(example.texts for example in examples), strict=True) for sequence in texts]
    order = torch.arange(3 * count)
    if shuffled:
        order = torch.randperm(3 * count, generator=torch.Generator().manual_seed(1))
    sequences = [sequences[number] for number in order.tolist()]
    keys = [derive_seed("text", *sequence.tolist()) for sequence in sequences]
    query, positive, negative = torch.split(order.argsort(), count)
    drawn = torch.stack([example.draw(TEACHER_SIZE + 3) for example in examples])
    fields = {
        "query": query,
        "positive": positive,
        "negative": negative,
        "negative_of": torch.arange(count),
        "text_key": torch.tensor(keys),
        "text": query,
        "label": torch.tensor([int(example.query.sum()) % _LABELS for example in examples]),
        "first": query,
        "second": positive,
        "score": drawn[:, 0].sigmoid(),
        "teacher_scores": drawn[:, 1:3],
        "teacher_vector": drawn[:, 3:],
    }
    return Batch(torch.cat(sequences), SequenceLayout.from_lengths(map(len, sequences)), fields)


def check_embedding(loss: Any, encoder: TinyEncoder, batch: Batch) -> None:
    """``embed`` and ``sentence_head`` are there, say the same, and each sequence's embedding is its own."""
    for method in ("embed", "sentence_head"):
        promise = "a loss that makes embeddings has both `embed` and `sentence_head`"
        require(hasattr(loss, method), promise, found=f"no {method}")
    head = loss.sentence_head()
    require(isinstance(head, SentenceHead), "sentence_head is a neobert.SentenceHead", found=type(head))
    promise = "sentence_head's pooling is one that exports know"
    require(head.pooling in _POOLED, promise, given=sorted(_POOLED), found=head)
    size = _embedding_size(head, encoder.hidden_size)
    found = loss.embed(encoder, batch.input_ids, batch.layout)
    expected = (batch.layout.num_sequences, size)
    require(tuple(found.shape) == expected, "embeddings are (N, E)", given=expected, found=tuple(found.shape))
    require(found.requires_grad, "embeddings have a gradient")
    sequences = per_sequence(batch.input_ids, batch.layout.lengths)
    alone = torch.stack([_embedding(encoder, head, ids) for ids in sequences])
    promise = "embed does what sentence_head says, and a sequence's embedding is the same alone as in a batch"
    require_close(found, alone, promise, given=head, tolerance=_TOLERANCE)


def check_losses_from(loss: Any, encoder: TinyEncoder, batch: Batch, output: LossOutput) -> None:
    """``losses_from`` of what ``embed`` makes is the loss."""
    again = loss.losses_from(loss.embed(encoder, batch.input_ids, batch.layout), batch)
    promise = "losses_from of embed's embeddings is what the loss is of the batch"
    for name in ("total", "count"):
        require_close(getattr(again, name).double(), getattr(output, name).double(), promise, tolerance=_TOLERANCE)
    require_all_close(_as_tensors(again.metrics), _as_tensors(output.metrics), promise, tolerance=_TOLERANCE)


def check_order(run: Callable[[Batch], tuple[LossOutput, dict[str, Tensor]]], examples: Sequence[Example]) -> None:
    """Which example or sequence comes first is of no matter: candidates are known by the fields, not by their place."""
    output, gradients = run(embedding_batch(examples))
    for order, shuffled in ((examples[::-1], False), ([*examples[2:], *examples[:2]], False), (examples, True)):
        other, found = run(embedding_batch(order, shuffled=shuffled))
        promise = "the order of a batch's examples and sequences changes neither total, count nor gradient"
        require_close(other.total.detach(), output.total.detach(), promise, tolerance=_TOLERANCE)
        require(float(other.count) == float(output.count), promise, found=other.count)
        require_all_close(found, gradients, promise, tolerance=_TOLERANCE)


def _embedding_size(head: SentenceHead, hidden_size: int) -> int:
    if head.projection is None:
        return hidden_size
    weight, bias = head.projection
    size = len(weight)
    right = tuple(weight.shape) == (size, hidden_size) and (bias is None or tuple(bias.shape) == (size,))
    promise = "sentence_head's projection is a weight (E, C) and a bias (E,) or None"
    require(right, promise, found=(weight.shape, None if bias is None else bias.shape))
    return size


def _as_tensors(metrics: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: torch.as_tensor(value).double() for name, value in metrics.items()}


def _embedding(encoder: TinyEncoder, head: SentenceHead, ids: Tensor) -> Tensor:
    """Of one sequence by itself, step by step as sentence_head has them."""
    vector = _POOLED[head.pooling](encoder(ids, SequenceLayout.from_lengths([len(ids)])))
    if head.projection is not None:
        vector = F.linear(vector, *head.projection)
    return vector / vector.norm() if head.normalize else vector


def _weighted(hidden: Tensor) -> Tensor:
    weights = torch.arange(1, len(hidden) + 1, dtype=hidden.dtype)
    return (weights[:, None] * hidden).sum(0) / weights.sum()


_POOLED: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda hidden: hidden.mean(0),
    "cls": lambda hidden: hidden[0],
    "last": lambda hidden: hidden[-1],
    "max": lambda hidden: hidden.amax(0),
    "weighted_mean": _weighted,
}
