"""Supervised contrastive learning against loops over anchors and positives."""

from __future__ import annotations

import pytest
import torch

from neobert_plugins.losses import SupCon

LABELS = {
    "pairs": [0, 1, 0, 1, 2, 2],
    "one alone": [5, 5, 5, 9, 7, 7],
    "all alike": [3, 3, 3, 3, 3, 3],
    "out of order": [2, 0, 2, 1, 0, 2],
}


def plainly(z, labels, temperature):
    total, terms, negatives, right = 0.0, 0, 0, 0
    for i, label in enumerate(labels):
        others = [a for a in range(len(labels)) if a != i]
        alike = [p for p in others if labels[p] == label]
        if not alike:
            continue
        scores = {a: z[i] @ z[a] / temperature for a in others}
        together = torch.log(sum(score.exp() for score in scores.values()))
        total = total - sum(scores[p] - together for p in alike) / len(alike)
        terms += 1
        negatives += len(others) - len(alike)
        right += all(any(scores[p] > scores[a] for p in alike) for a in others if a not in alike)
    return total, terms, negatives, right


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
@pytest.mark.parametrize("temperature", [0.1, 0.8])
def test_it_is_the_formula(labels, temperature, make_loss, batch_of, unit_rows, agree):
    embeddings = unit_rows(8)
    text = [1, 2, 3, 5, 6, 7]
    total, terms, negatives, right = plainly(embeddings[text], labels, temperature)
    loss = make_loss(SupCon(temperature=temperature))
    metrics = agree(loss, batch_of(8, text=text, label=labels), embeddings, total, terms)
    assert metrics == {"negatives": negatives, "accuracy": right}


@pytest.mark.parametrize("labels", [[4], [0, 1, 2], []], ids=["one text", "all different", "none"])
def test_a_batch_in_which_no_label_comes_twice_is_a_finite_zero(labels, make_loss, batch_of, unit_rows):
    embeddings = unit_rows(4)
    text = torch.arange(len(labels))
    output = make_loss(SupCon()).losses_from(
        embeddings, batch_of(4, text=text, label=torch.tensor(labels, dtype=torch.int64))
    )
    output.total.backward()
    assert (output.total.item(), output.count.item()) == (0.0, 0)
    assert embeddings.grad is None or not embeddings.grad.any()
    assert {name: value.item() for name, value in output.metrics.items()} == {"negatives": 0, "accuracy": 0}
