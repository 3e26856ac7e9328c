"""What evaluations say of embeddings, against plain loops over texts."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from scipy.stats import spearmanr

from neobert.batch import Batch, SequenceLayout
from neobert.interfaces import LossOutput, SentenceHead
from neobert.training.embedding_meter import EmbeddingMeter
from neobert.training.objective import Objective

WIDTH = 5


def place(text: int, role: str = "") -> torch.Tensor:
    """Where a text lies; the same text of another role, behind another prompt, lies elsewhere."""
    generator = torch.Generator().manual_seed(1000 * text + len(role))
    return torch.nn.functional.normalize(torch.randn(WIDTH, generator=generator), dim=0)


def batch_of(texts: Mapping[str, list[int]], keys: bool = True, **fields: torch.Tensor) -> tuple[torch.Tensor, Batch]:
    """One sequence a text, role after role; its tokens are its number. With their embeddings."""
    sequences = [(role, text) for role, found in texts.items() for text in found]
    starts, fields = 0, dict(fields)
    for role, found in texts.items():
        fields[role] = torch.arange(starts, starts + len(found))
        starts += len(found)
    if keys:
        fields["text_key"] = torch.tensor([text for _, text in sequences])
    ids = torch.tensor([text for _, text in sequences])
    embeddings = torch.stack([place(text, role) for role, text in sequences])
    return embeddings, Batch(ids, SequenceLayout.from_lengths([1] * len(sequences)), fields)


def by_loops(pairs: list[tuple[int, int]], further: tuple[int, ...] = ()) -> dict[str, float]:
    """Of distinct queries among distinct positives and further texts, a query's own text left out."""
    queries = list(dict.fromkeys(query for query, _ in pairs))
    positives = list(dict.fromkeys((*(positive for _, positive in pairs), *further)))
    sums = dict.fromkeys(("mrr@10", "recall@1", "recall@10"), 0.0)
    for query in queries:
        right = {positive for other, positive in pairs if other == query}
        candidates = [text for text in positives if text != query or text in right]
        scores = {text: float(place(query, "query") @ place(text, "positive")) for text in candidates}
        ranking = sorted(candidates, key=lambda text: -scores[text])
        first = next(rank for rank, text in enumerate(ranking, 1) if text in right)
        sums["mrr@10"] += 1 / first if first <= 10 else 0.0
        for depth in (1, 10):
            sums[f"recall@{depth}"] += len(right & set(ranking[:depth])) / len(right)
    return {name: total / len(queries) for name, total in sums.items()}


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_retrieval_against_a_loop(seed: int, keys: bool) -> None:
    """Texts repeat, within a role and across: each is one candidate, and right whichever example it came from."""
    rng = random.Random(seed)
    pairs = [(rng.randint(0, 12), rng.randint(8, 30)) for _ in range(40)]
    pairs = [(query, positive) for query, positive in pairs if query != positive]
    meter = EmbeddingMeter(normalized=True)
    for start in range(0, len(pairs), 7):
        part = pairs[start : start + 7]
        texts = {"query": [query for query, _ in part], "positive": [positive for _, positive in part]}
        meter.gather(*batch_of(texts, keys))
    found = meter.read()
    expected = by_loops(pairs)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    distances = [(place(q, "query") - place(p, "positive")).square().sum() for q, p in set(pairs)]
    assert found["alignment"] == pytest.approx(float(torch.stack(distances).mean()), abs=1e-5)
    assert -4.5 < found["uniformity"] < 0.0


def test_further_candidates_are_right_for_nobody_and_each_comes_once() -> None:
    """Some of them are held-out positives, some are a query's own text, and some come twice."""
    pairs = [(query, 8 + query % 5 + query) for query in range(13)]
    meter = EmbeddingMeter(normalized=True)
    meter.gather(*batch_of({"query": [query for query, _ in pairs], "positive": [found for _, found in pairs]}))
    alone = meter.read()
    further = (*range(0, 60, 2), 4, 6)
    meter.widen(further, torch.stack([place(text, "positive") for text in further]))
    found = meter.read()
    assert {name: value for name, value in found.items() if not name.startswith("all/")} == alone
    expected = by_loops(pairs, further)
    assert expected != by_loops(pairs)
    assert {name: found[f"all/{name}"] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert found["all/candidates"] == len({positive for _, positive in pairs} | set(further))


def test_a_text_beside_itself_asks_nothing() -> None:
    meter = EmbeddingMeter(normalized=True)
    meter.gather(*batch_of({"query": [1, 2], "positive": [1, 2]}))
    assert set(meter.read()) == {"uniformity"}


def test_scores_of_all_batches_are_one_order() -> None:
    rng = random.Random(0)
    rows = [(rng.randint(0, 50), rng.randint(0, 50), rng.random()) for _ in range(30)]
    meter = EmbeddingMeter(normalized=True)
    for start in range(0, 30, 8):
        part = rows[start : start + 8]
        texts = {"first": [a for a, _, _ in part], "second": [b for _, b, _ in part]}
        meter.gather(*batch_of(texts, score=torch.tensor([score for *_, score in part])))
    alike = [float(place(a, "first") @ place(b, "second")) for a, b, _ in rows]
    expected = spearmanr(alike, [score for *_, score in rows]).statistic
    assert meter.read()["spearman"] == pytest.approx(expected, abs=1e-6)


def test_neighbours_of_the_same_label() -> None:
    meter = EmbeddingMeter(normalized=True)
    labels = [0, 1, 0, 1, 1]
    for start in (0, 3):
        part = list(range(5))[start : start + 3]
        meter.gather(*batch_of({"text": part}, label=torch.tensor([labels[text] for text in part])))
    right = 0
    for text in range(5):
        others = [other for other in range(5) if other != text]
        nearest = max(others, key=lambda other: float(place(text, "text") @ place(other, "text")))
        right += labels[nearest] == labels[text]
    assert meter.read()["neighbour_accuracy"] == pytest.approx(right / 5)


def test_what_is_no_number_is_told_as_such() -> None:
    meter = EmbeddingMeter(normalized=True)
    embeddings, batch = batch_of({"query": [1, 2], "positive": [3, 4]})
    embeddings[1] = math.nan
    meter.gather(embeddings, batch)
    found = meter.read()
    assert "mrr@10" in found
    assert all(math.isnan(value) for value in found.values())


class _Objective(Objective):
    """Counts how often it embeds."""

    def __init__(self, loss: Any) -> None:
        super().__init__(None, loss)
        self.calls = 0

    def embed(self, batch: Batch) -> torch.Tensor:
        self.calls += 1
        return torch.stack([place(int(text)) for text in batch.input_ids])

    def forward(self, batch: Batch) -> LossOutput:
        return LossOutput(torch.tensor(7.0), torch.tensor(1))


class _Loss:
    def embed(self, *arguments: Any) -> torch.Tensor: ...

    def sentence_head(self) -> SentenceHead:
        return SentenceHead(pooling="mean", normalize=True)


class _Reusing(_Loss):
    def losses_from(self, embeddings: torch.Tensor, batch: Batch) -> LossOutput:
        return LossOutput(embeddings.sum(), torch.tensor(2))


def test_a_batch_is_embedded_once_for_the_loss_and_the_figures() -> None:
    objective = _Objective(_Reusing())
    meter = EmbeddingMeter.of(objective.loss)
    _, batch = batch_of({"query": [1, 2], "positive": [3, 4]})
    output = meter.add(objective, batch)
    assert objective.calls == 1
    assert int(output.count) == 2
    assert float(output.total) == pytest.approx(float(sum(place(text).sum() for text in (1, 2, 3, 4))), abs=1e-5)


def test_a_loss_that_cannot_reuse_them_is_asked_itself() -> None:
    objective = _Objective(_Loss())
    meter = EmbeddingMeter.of(objective.loss)
    assert float(meter.add(objective, batch_of({"query": [1], "positive": [3]})[1]).total) == 7.0


def test_a_loss_without_embeddings_has_no_such_figures() -> None:
    assert EmbeddingMeter.of(object()) is None
