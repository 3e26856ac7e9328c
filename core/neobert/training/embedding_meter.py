"""What held-out embeddings are worth, whatever loss they are trained with: retrieval, correlation, geometry.

Each batch is embedded once, for the loss and for these figures.

Shapes: N sequences of a batch, B examples, Q queries, D candidates, E embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from neobert.abilities import makes_embeddings
from neobert.batch import Batch
from neobert.data.text_keys import text_key
from neobert.embedding.geometry import alignment, pair_similarities, spearman, uniformity
from neobert.embedding.nearest import Products, nearest
from neobert.embedding.ranking import DEPTH, Relevance, ranking_metrics
from neobert.interfaces import LossOutput
from neobert.training.evaluation_names import AMONG_ALL, CANDIDATES
from neobert.training.objective import Objective

QUERY, POSITIVE, FIRST, SECOND, SCORE, TEXT, LABEL = "query", "positive", "first", "second", "score", "text", "label"
"""Fields of a batch of examples: which sequence is what, and what belongs to it."""
UNIFORMITY_TEXTS = 10_000
"""Of more texts, the first so many: the figure hardly changes, and its cost grows with their square."""


@define
class _Texts:
    """Distinct texts of one role, numbered as they came."""

    numbers: dict[int, int] = field(factory=dict)
    """Key of a text -> its number."""
    embeddings: list[Tensor] = field(factory=list)
    """(E,) each, on the device."""

    def number(self, key: int, embedding: Tensor) -> int:
        """Of a text that may have come before."""
        if key not in self.numbers:
            self.numbers[key] = len(self.embeddings)
            self.embeddings.append(embedding)
        return self.numbers[key]

    def with_others(self, others: _Texts) -> _Texts:
        """These, and after them others, none of which is one of these."""
        after = {key: len(self.embeddings) + number for key, number in others.numbers.items()}
        return _Texts(self.numbers | after, [*self.embeddings, *others.embeddings])

    @property
    def stacked(self) -> Tensor:
        """(n, E)."""
        return torch.stack(self.embeddings)


@define
class EmbeddingMeter:
    """Gathers the embeddings of an evaluation's batches, and measures them at its end."""

    normalized: bool
    """Whether embeddings have length 1; where they have not, products are what is compared."""
    _roles: dict[str, _Texts] = field(factory=dict, init=False)
    _pairs: list[tuple[int, int]] = field(factory=list, init=False)
    """(query, positive) that belong together."""
    _scored: list[tuple[Tensor, Tensor]] = field(factory=list, init=False)
    """Similarities and scores (B,), of each batch."""
    _labels: list[Tensor] = field(factory=list, init=False)
    """(B,) of each batch, of its texts."""
    _labelled: list[Tensor] = field(factory=list, init=False)
    """(B, E), the texts'."""
    _further: _Texts = field(factory=_Texts, init=False)
    """Candidates that are right for nobody."""

    @classmethod
    def of(cls, loss: Any) -> EmbeddingMeter | None:
        """None for a loss that makes no embeddings."""
        return cls(loss.sentence_head().normalize) if makes_embeddings(loss) else None

    def add(self, objective: Objective, batch: Batch) -> LossOutput:
        """The loss of a batch, whose embeddings are kept."""
        loss, embeddings = objective.loss, objective.embed(batch)
        self.gather(embeddings.float(), batch)
        output: LossOutput = loss.losses_from(embeddings, batch) if hasattr(loss, "losses_from") else objective(batch)
        return output

    def gather(self, embeddings: Tensor, batch: Batch) -> None:
        """embeddings (N, E) of a batch, on its device."""
        fields = batch.fields
        keys = _keys(batch)
        places = {name: fields[name].tolist() for name in (QUERY, POSITIVE, FIRST, SECOND, TEXT) if name in fields}
        numbers = {
            name: [self._role(name).number(keys[place], embeddings[place]) for place in found]
            for name, found in places.items()
        }
        if QUERY in numbers and POSITIVE in numbers:
            same = [keys[q] == keys[p] for q, p in zip(places[QUERY], places[POSITIVE], strict=True)]
            pairs = zip(numbers[QUERY], numbers[POSITIVE], same, strict=True)
            # A text beside itself, told apart by dropout in training alone, asks nothing here.
            self._pairs += [(query, positive) for query, positive, alike in pairs if not alike]
        if {FIRST, SECOND, SCORE} <= fields.keys():
            alike = pair_similarities(embeddings[fields[FIRST]], embeddings[fields[SECOND]])
            self._scored.append((alike, fields[SCORE]))
        if {TEXT, LABEL} <= fields.keys():
            self._labels.append(fields[LABEL])
            self._labelled.append(embeddings[fields[TEXT]])

    def widen(self, keys: Sequence[int], embeddings: Tensor) -> None:
        """Further candidates (n, E): `read` ranks queries among these and all positives as well. A key, as `text_key`
        has it, that a positive has is that positive."""
        held_out = self._role(POSITIVE).numbers
        for key, embedding in zip(keys, embeddings, strict=True):
            if key not in held_out:
                self._further.number(key, embedding)

    def read(self) -> dict[str, float]:
        """All figures that the fields allow; not a number where an embedding is none."""
        figures = dict(self._figures())
        texts = [texts.stacked for texts in (*self._roles.values(), self._further) if texts.embeddings]
        if not all(bool(torch.isfinite(embeddings).all()) for embeddings in texts):
            return dict.fromkeys(figures, math.nan)
        return figures

    def _figures(self) -> Iterator[tuple[str, float]]:
        if self._pairs:
            yield from self._retrieval().items()
        if self._scored:
            alike, scores = (torch.cat(parts).cpu().numpy() for parts in zip(*self._scored, strict=True))
            yield "spearman", spearman(alike, scores)
        if self._labels:
            yield "neighbour_accuracy", self._neighbour_accuracy()
        texts = [texts.stacked for texts in self._roles.values() if texts.embeddings]
        if texts:
            yield "uniformity", uniformity(torch.cat(texts)[:UNIFORMITY_TEXTS].nan_to_num())

    def _retrieval(self) -> dict[str, float]:
        """Each query among all held-out positives, and among all there are where there are further ones."""
        queries, positives = self._role(QUERY).stacked, self._role(POSITIVE)
        asked, right = self._numbered(self._pairs)
        first, second = (torch.tensor(column) for column in zip(*right, strict=True))
        near = alignment(queries[first], positives.stacked[second])
        figures = self._ranked(asked, right, positives) | {"alignment": near}
        if self._further.embeddings:
            together = positives.with_others(self._further)
            among_all = self._ranked(asked, right, together)
            figures |= {AMONG_ALL + name: value for name, value in among_all.items()}
            figures[CANDIDATES] = float(len(together.embeddings))
        return figures

    def _ranked(
        self, asked: Mapping[int, int], right: Sequence[tuple[int, int]], candidates: _Texts
    ) -> dict[str, float]:
        """Of queries among candidates, the positives first. A query's own text is no answer, unless a pair says so."""
        queries = self._role(QUERY)
        relevance = Relevance.of(((asked[query], positive, 1.0) for query, positive in right), len(asked))
        names = {number: key for key, number in queries.numbers.items()}
        answers = set(right)
        own = [candidates.numbers.get(names[query], -1) for query in asked]
        own = [-1 if (query, place) in answers else place for query, place in zip(asked, own, strict=True)]
        scores = Products(queries.stacked[torch.tensor(list(asked))].nan_to_num(), candidates.stacked.nan_to_num())
        found = nearest(scores, DEPTH, left_out=torch.tensor(own))
        return ranking_metrics(found.numpy(), relevance)

    @staticmethod
    def _numbered(pairs: Sequence[tuple[int, int]]) -> tuple[Mapping[int, int], list[tuple[int, int]]]:
        """The queries of pairs, numbered anew without holes, and each pair once."""
        distinct = sorted(set(pairs))
        return {query: place for place, query in enumerate(dict.fromkeys(query for query, _ in distinct))}, distinct

    def _neighbour_accuracy(self) -> float:
        """How often the nearest other text has a text's own label."""
        embeddings, labels = torch.cat(self._labelled).nan_to_num(), torch.cat(self._labels).cpu()
        found = nearest(Products(embeddings, embeddings), 1, left_out=torch.arange(len(labels)))[:, 0]
        return float((labels[found] == labels).float().mean()) if len(labels) > 1 else math.nan

    def _role(self, name: str) -> _Texts:
        return self._roles.setdefault(name, _Texts())


def _keys(batch: Batch) -> list[int]:
    """Of each sequence, a number that says which text it is: the collator's, else that of its tokens."""
    if "text_key" in batch.fields:
        keys: list[int] = batch.fields["text_key"].tolist()
        return keys
    sequences = torch.split(batch.input_ids.cpu(), list(batch.layout.lengths))[: batch.num_sequences]
    return [text_key(sequence.numpy()) for sequence in sequences]
