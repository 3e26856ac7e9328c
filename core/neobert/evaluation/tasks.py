"""The tasks of `--evaluate`: each asks a model and, beside it, what counting words comes to.

Shapes: Q queries, D candidates, E embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F

from neobert.embedding.geometry import alignment, pair_similarities, spearman, uniformity
from neobert.embedding.nearest import Products
from neobert.embedding.probe import linear_probe
from neobert.embedding.retrieval import RetrievalData
from neobert.embedding.words import TfIdf
from neobert.errors import UserError
from neobert.evaluation.data import ClassificationData, SimilarityData
from neobert.evaluation.model import Similarity, TextModel
from neobert.wording import counted

Figures = Mapping[str, float]
Asks = Literal["embeddings", "guesses", "classes"]
"""What a task has to have of a model: vectors of texts, guesses of masked tokens, or classes and numbers of texts."""
UNIFORMITY_TEXTS = 10_000
"""Of more candidates, the first so many: the figure hardly changes, and its cost grows with their square."""


@frozen
class Part:
    """One text of a task with figures of its own."""

    text: str
    figures: Figures


@frozen
class Measured:
    """A model's figures, and what measuring them showed."""

    figures: Figures
    size: str = ""
    """How much of the data was measured, for people."""
    notes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()


@frozen
class TaskResult:
    """A task's figures by who reached them, the model first."""

    task: str
    source: str
    """The file or folder that it was read from."""
    size: str
    """How much there was of it, for people."""
    figures: Mapping[str, Figures]
    notes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    """The model's, text by text, where a task has such."""


class Task(Protocol):
    """Data with a question."""

    asks: ClassVar[Asks]

    @property
    def size(self) -> str: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def of_model(self, model: Any) -> Figures | Measured:
        """``model``: what `asks` says."""
        ...

    def of_words(self) -> Mapping[str, Figures]:
        """What needs no model, by name. It needs scikit-learn."""
        ...


@frozen(eq=False)
class RetrievalTask:
    """Which candidate answers a query, all of them ranked. A query's own text is no answer, unless it is said to be."""

    asks: ClassVar[Asks] = "embeddings"

    data: RetrievalData

    @property
    def size(self) -> str:
        return f"{counted(len(self.data.queries), 'query')}, {counted(len(self.data.candidates), 'candidate')}"

    @property
    def notes(self) -> tuple[str, ...]:
        return self.data.notes

    def of_model(self, model: TextModel) -> Figures:
        data = self.data
        queries, candidates = model.embed(data.queries, "query"), model.embed(data.candidates, "document")
        require_finite(queries, candidates)
        scores = Products(_compared(queries, model.similarity), _compared(candidates, model.similarity))
        right = torch.from_numpy(np.stack((data.relevance.query, data.relevance.candidate))).to(queries.device)
        return data.ranked(scores) | {
            "alignment": alignment(queries[right[0]], candidates[right[1]]),
            "uniformity": uniformity(candidates[:UNIFORMITY_TEXTS]),
        }

    def of_words(self) -> Mapping[str, Figures]:
        return self.data.ranked_by_words()


@frozen(eq=False)
class SimilarityTask:
    """Whether pairs that people find more alike are more alike to the model."""

    asks: ClassVar[Asks] = "embeddings"

    data: SimilarityData
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        return counted(len(self.data.scores), "pair")

    def of_model(self, model: TextModel) -> Figures:
        both = [*self.data.first, *self.data.second]
        first, second = embed_each_once(model, both).chunk(2)
        require_finite(first, second)
        alike = pair_similarities(_compared(first, model.similarity), _compared(second, model.similarity))
        return self._agreement(alike.cpu().numpy())

    def of_words(self) -> Mapping[str, Figures]:
        model = TfIdf([*self.data.first, *self.data.second])
        first, second = model.rows(self.data.first), model.rows(self.data.second)
        return {TfIdf.name: self._agreement(np.asarray(first.multiply(second).sum(1)).ravel())}

    def _agreement(self, alike: np.ndarray) -> dict[str, float]:
        return {"spearman": spearman(alike, np.asarray(self.data.scores))}


@frozen(eq=False)
class ClassificationTask:
    """Whether a logistic regression on embeddings tells classes apart."""

    asks: ClassVar[Asks] = "embeddings"

    data: ClassificationData
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        classes = counted(len(set(self.data.train_labels)), "class")
        return f"{classes}, {counted(len(self.data.train), 'text')} to learn from, {len(self.data.test):,} to try"

    def of_model(self, model: TextModel) -> Figures:
        train, test = embed_each_once(model, self.data.train), embed_each_once(model, self.data.test)
        require_finite(train, test)
        return self._probed(train.cpu().numpy(), test.cpu().numpy())

    def of_words(self) -> Mapping[str, Figures]:
        model = TfIdf(self.data.train)
        return {TfIdf.name: self._probed(model.rows(self.data.train), model.rows(self.data.test))}

    def _probed(self, train: object, test: object) -> dict[str, float]:
        found = linear_probe(train, self.data.train_labels, test, self.data.test_labels)
        return {"accuracy": found.accuracy, "f1": found.f1, "converged": float(found.converged)}


def embed_each_once(model: TextModel, texts: Sequence[str]) -> Tensor:
    """(N, E), though a text may come any number of times."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    embeddings = model.embed(list(numbers), "text")
    return embeddings[torch.tensor([numbers[text] for text in texts], device=embeddings.device)]


def require_finite(*embeddings: Tensor) -> None:
    """Raises UserError where the model has numbers that are none."""
    if not all(bool(torch.isfinite(tensor).all()) for tensor in embeddings):
        msg = "the model's embeddings hold values that are not finite: it is broken, and no figure would mean anything"
        raise UserError(msg)


def _compared(embeddings: Tensor, similarity: Similarity) -> Tensor:
    """So that products are what the model compares by."""
    return F.normalize(embeddings, dim=-1) if similarity == "cosine" else embeddings
