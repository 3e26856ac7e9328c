"""The baselines against their formulas and others' code."""

from __future__ import annotations

import math
import re
from collections import Counter

import bm25s
import numpy as np
import pytest

from neobert.embedding.words import K1, B, bm25_scores, tf_idf_scores

CANDIDATES = [
    "the cat sat on the mat with the other cat",
    "a dog ran to the park",
    "cats and dogs are animals that people keep",
    "the park has a lake and the lake has fish in it",
    "fish",
]
QUERIES = ["the cat", "fish in the lake lake", "dogs that ran", "unheard words"]


def words(text: str) -> list[str]:
    return re.findall(r"(?u)\b\w\w+\b", text.lower())


def whole(scores: object) -> np.ndarray:
    return scores.block(slice(None), slice(None)).numpy()  # type: ignore[attr-defined]


def test_bm25_against_its_formula() -> None:
    texts = [words(text) for text in CANDIDATES]
    mean = sum(map(len, texts)) / len(texts)
    expected = np.zeros((len(QUERIES), len(texts)))
    for row, query in enumerate(QUERIES):
        for column, text in enumerate(texts):
            for word in words(query):
                having = sum(word in other for other in texts)
                often = Counter(text)[word]
                rarity = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
                expected[row, column] += rarity * often / (often + K1 * (1 - B + B * len(text) / mean))
    np.testing.assert_allclose(whole(bm25_scores(QUERIES, CANDIDATES)), expected, atol=1e-12)


def test_bm25_is_that_of_bm25s() -> None:
    model = bm25s.BM25(k1=K1, b=B, method="lucene")
    model.index([words(text) for text in CANDIDATES], show_progress=False)
    known = {word for text in CANDIDATES for word in words(text)}
    for query, row in zip(QUERIES, whole(bm25_scores(QUERIES, CANDIDATES)), strict=True):
        asked = [word for word in words(query) if word in known]
        theirs = model.get_scores(asked) if asked else np.zeros(len(CANDIDATES))
        np.testing.assert_allclose(row, theirs, rtol=1e-5, atol=1e-6)


def test_tf_idf_are_cosines() -> None:
    same = whole(tf_idf_scores(CANDIDATES, CANDIDATES))
    np.testing.assert_allclose(np.diag(same), 1.0)
    assert same[0, 4] == 0.0
    assert whole(tf_idf_scores(["fish"], CANDIDATES)).argmax() == 4


@pytest.mark.parametrize("make", [bm25_scores, tf_idf_scores])
def test_a_block_is_a_part_of_the_whole(make) -> None:
    scores = make(QUERIES, CANDIDATES)
    assert scores.shape == (len(QUERIES), len(CANDIDATES))
    np.testing.assert_array_equal(scores.block(slice(1, 3), slice(2, 5)).numpy(), whole(scores)[1:3, 2:5])
