"""Tasks on models whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from attrs import define, field

from neobert.embedding.retrieval import RetrievalData
from neobert.errors import UserError
from neobert.evaluation.data import ClassificationData, SimilarityData
from neobert.evaluation.tasks import ClassificationTask, RetrievalTask, SimilarityTask


@define
class Places:
    """A model that knows where each text lies."""

    places: dict[str, list[float]]
    similarity: str = "cosine"
    description: str = "known places"
    asked: list[str] = field(factory=list)

    def embed(self, texts: Sequence[str], kind: str) -> torch.Tensor:
        self.asked += [f"{kind}: {text}" for text in texts]
        return torch.tensor([self.places[text] for text in texts])


def test_retrieval_by_cosine_and_by_dot_product() -> None:
    data = RetrievalData(("q",), ("near", "long"), ((0, 0, 1.0),))
    places = {"q": [1.0, 0.0], "near": [0.5, 0.0], "long": [4.0, 4.0]}
    assert RetrievalTask(data).of_model(Places(places))["recall@1"] == 1.0
    assert RetrievalTask(data).of_model(Places(places, similarity="dot"))["recall@1"] == 0.0


def test_a_querys_own_text_is_no_answer_to_it() -> None:
    places = {"a": [1.0, 0.0], "b": [0.9, 0.1], "c": [0.0, 1.0]}
    found = RetrievalTask(RetrievalData(("a",), ("a", "b", "c"), ((0, 1, 1.0),))).of_model(Places(places))
    assert found["mrr@10"] == 1.0
    # ... unless the data say that it is.
    found = RetrievalTask(RetrievalData(("a",), ("a", "b", "c"), ((0, 0, 1.0),))).of_model(Places(places))
    assert found["mrr@10"] == 1.0


def test_alignment_is_of_right_pairs() -> None:
    places = {"q": [1.0, 0.0], "r": [0.0, 1.0], "x": [2.0, 0.0], "y": [0.0, 3.0]}
    data = RetrievalData(("q", "r"), ("y", "x"), ((0, 1, 1.0), (1, 0, 1.0)))
    found = RetrievalTask(data).of_model(Places(places))
    assert found["alignment"] == pytest.approx(0.0)
    assert found["uniformity"] == pytest.approx(-4.0)


def test_queries_and_candidates_have_prompts_of_their_own() -> None:
    model = Places({"q": [1.0], "c": [1.0], "d": [-1.0]})
    RetrievalTask(RetrievalData(("q",), ("c", "d"), ((0, 0, 1.0),))).of_model(model)
    assert model.asked == ["query: q", "document: c", "document: d"]


def test_similarity_embeds_each_text_once() -> None:
    model = Places({"a": [1.0, 0.0], "b": [1.0, 0.1], "c": [0.0, 1.0]})
    task = SimilarityTask(SimilarityData(("a", "a", "b"), ("b", "c", "a"), (1.0, 0.0, 0.9)))
    assert task.of_model(model)["spearman"] > 0.8
    assert sorted(model.asked) == ["text: a", "text: b", "text: c"]


def test_classification() -> None:
    places = {"cat": [1.0, 0.0], "dog": [0.9, 0.2], "oak": [0.0, 1.0], "elm": [0.1, 0.8]}
    data = ClassificationData(("cat", "oak", "cat", "oak"), ("animal", "tree") * 2, ("dog", "elm"), ("animal", "tree"))
    found = ClassificationTask(data).of_model(Places(places))
    assert found == {"accuracy": 1.0, "f1": 1.0, "converged": 1.0}


def test_a_broken_model_is_refused() -> None:
    data = RetrievalData(("q",), ("c",), ((0, 0, 1.0),))
    with pytest.raises(UserError, match="not finite"):
        RetrievalTask(data).of_model(Places({"q": [1.0], "c": [float("nan")]}))


def test_words_find_what_has_the_same_words() -> None:
    data = RetrievalData(("blue whales",), ("green trees", "some blue whales swim", "blue sky"), ((0, 1, 1.0),))
    for figures in RetrievalTask(data).of_words().values():
        assert figures["mrr@10"] == 1.0
