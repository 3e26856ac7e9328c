"""What counting words alone comes to: TF-IDF and BM25, so that a model's figures mean something.

Words are runs of two or more letters, digits or underscores, in lower case.

Shapes: Q queries, D candidates, N texts, V words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor

K1, B = 1.2, 0.75
"""Of BM25, as Lucene has them: how soon a word's repetitions stop to count, and how much a long text loses."""


@frozen(eq=False)
class WordScores:
    """Products of sparse rows, a block at a time: see `neobert.embedding.nearest.Scores`."""

    queries: Any
    """(Q, V), a SciPy CSR matrix."""
    candidates: Any
    """(D, V), the same."""
    shape: tuple[int, int] = field(init=False)

    @shape.default
    def _shape(self) -> tuple[int, int]:
        return self.queries.shape[0], self.candidates.shape[0]

    def block(self, queries: slice, candidates: slice) -> Tensor:
        """(R, W) float64."""
        return torch.from_numpy((self.queries[queries] @ self.candidates[candidates].T).toarray())


class TfIdf:
    """Words weighted by how rare they are (scikit-learn's), rows of length 1: products are cosines."""

    name = "TF-IDF"

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(dtype=np.float64)
        self._vectorizer.fit(texts)

    def rows(self, texts: Sequence[str]) -> Any:
        """(N, V)."""
        return self._vectorizer.transform(texts)


def tf_idf_scores(queries: Sequence[str], candidates: Sequence[str]) -> WordScores:
    """Cosines of TF-IDF rows whose words and their rarity are those of the candidates."""
    model = TfIdf(candidates)
    return WordScores(model.rows(queries), model.rows(candidates))


def bm25_scores(queries: Sequence[str], candidates: Sequence[str]) -> WordScores:
    """BM25 in Lucene's form (Robertson & Zaragoza 2009; Kamphuis et al. 2020): each word of a query, as often as it
    comes there, adds log(1 + (D - n + 1/2) / (n + 1/2)) * f / (f + K1 (1 - B + B l / mean l)), for a word that n of D
    candidates have, and this one of l words f times.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(dtype=np.float64)
    counts = vectorizer.fit_transform(candidates).tocsr()
    lengths = np.asarray(counts.sum(1)).ravel()
    having = np.asarray((counts > 0).sum(0)).ravel()
    rarity = np.log1p((len(lengths) - having + 0.5) / (having + 0.5))
    damped = K1 * (1 - B + B * lengths / lengths.mean())
    row = np.repeat(np.arange(len(lengths)), np.diff(counts.indptr))
    weights = counts.data / (counts.data + damped[row]) * rarity[counts.indices]
    return WordScores(
        vectorizer.transform(queries).tocsr(), csr_matrix((weights, counts.indices, counts.indptr), counts.shape)
    )
