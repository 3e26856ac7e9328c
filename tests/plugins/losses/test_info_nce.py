"""InfoNCE against loops over queries and candidates."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from neobert_plugins.losses import InfoNCE, SimCSE

KEYS = [10, 11, 12, 20, 21, 22, 30, 31, 32, 33]
FIELDS = {
    "query": [0, 1, 2],
    "positive": [3, 4, 5],
    "negative": [6, 7, 8, 9],
    "negative_of": [0, 2, 2, 2],
    "text_key": KEYS,
}


def plainly(e, fields, temperature=0.05, weight=1.0, symmetric=False, margin=0.0):
    """(total, number of terms, negatives of all queries): the formula, a candidate at a time."""
    queries, positives, keys = fields["query"], fields["positive"], fields["text_key"]
    hard = list(zip(fields.get("negative", []), fields.get("negative_of", []), strict=True))
    total, terms, negatives = 0.0, 0, 0

    def entropy(a, b, others):
        best = (e[a] @ e[b] - margin) / temperature
        return torch.log(best.exp() + sum(w * (e[a] @ e[c] / temperature).exp() for c, w in others)) - best

    for i, (q, p) in enumerate(zip(queries, positives, strict=True)):
        same = {keys[q], keys[p]}
        there = [(c, 1.0) for c in positives if keys[c] not in same]
        there += [(c, weight if owner == i else 1.0) for c, owner in hard if keys[c] not in same]
        back = [(c, 1.0) for c in queries if keys[c] not in same] if symmetric else []
        loss = entropy(q, p, there)
        if symmetric:
            loss = (loss + entropy(p, q, back)) / 2
        if there or back:
            total, terms, negatives = total + loss, terms + 1, negatives + len(there)
    return total, terms, negatives


CASES = {
    "plain": ({}, {}),
    "no hard negatives": ({}, {"negative": None, "negative_of": None}),
    "weighted": ({"hard_negative_weight": 3.0}, {}),
    "both ways": ({"symmetric": True}, {}),
    "margin": ({"margin": 0.2, "symmetric": True}, {}),
    "warm": ({"temperature": 0.7}, {}),
    "a negative that is the positive": ({}, {"text_key": [10, 11, 12, 20, 21, 22, 20, 31, 22, 33]}),
    "a positive of others": ({"symmetric": True}, {"text_key": [10, 11, 12, 20, 20, 22, 30, 31, 32, 33]}),
    "a query that is a candidate": ({"symmetric": True}, {"text_key": [10, 11, 12, 20, 21, 22, 10, 12, 32, 33]}),
    "a positive that is its query": ({"symmetric": True}, {"text_key": [10, 11, 12, 10, 11, 12, 30, 31, 32, 33]}),
    "one query without negatives": ({}, {"text_key": [10, 10, 12, 20, 20, 22, 20, 20, 20, 22]}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_formula(case, make_loss, batch_of, unit_rows, agree):
    options, changes = CASES[case]
    fields = {name: value for name, value in {**FIELDS, **changes}.items() if value is not None}
    embeddings = unit_rows(10)
    names = {"hard_negative_weight": "weight"}
    plain = {names.get(name, name): value for name, value in options.items()}
    total, terms, negatives = plainly(embeddings, fields, **plain)
    metrics = agree(make_loss(InfoNCE(**options)), batch_of(10, **fields), embeddings, total, terms)
    assert metrics["negatives"] == negatives


def test_numbers_worked_out_by_hand(make_loss, batch_of):
    """Two queries at 1 to their positives and 0 to the other's; a hard negative of the first at 0.6, counted twice."""
    e = torch.tensor([[1, 0], [0, 1], [1, 0], [0, 1], [0.6, 0.8]], dtype=torch.float64, requires_grad=True)
    fields = {"query": [0, 1], "positive": [2, 3], "negative": [4], "negative_of": [0], "text_key": range(5)}
    loss = make_loss(InfoNCE(temperature=0.5, hard_negative_weight=2.0))
    output = loss.losses_from(e, batch_of(5, **fields))
    first = log(1 + (exp(0) + 2 * exp(1.2)) / exp(2))
    second = log(1 + (exp(0) + exp(1.6)) / exp(2))
    assert output.total.item() == pytest.approx(first + second, rel=1e-12)
    assert {name: value.item() for name, value in output.metrics.items()} == {"negatives": 4, "accuracy": 2}


def test_simcse_is_info_nce_over_two_copies(make_loss, batch_of, unit_rows, agree):
    fields = {"query": [0, 1, 2], "positive": [3, 4, 5], "text_key": [10, 11, 12, 10, 11, 12]}
    embeddings = unit_rows(6)
    total, terms, negatives = plainly(embeddings, fields)
    metrics = agree(make_loss(SimCSE()), batch_of(6, **fields), embeddings, total, terms)
    assert (terms, metrics["negatives"]) == (3, negatives) == (3, 6)


def test_a_pair_alone_is_a_finite_zero(make_loss, batch_of, unit_rows):
    embeddings = unit_rows(2)
    for options in (InfoNCE(), InfoNCE(symmetric=True, margin=0.5, learn_temperature=True)):
        loss = make_loss(options)
        output = loss.losses_from(embeddings, batch_of(2, query=[0], positive=[1], text_key=[1, 2]))
        output.total.backward()
        assert (output.total.item(), output.count.item()) == (0.0, 0)
        assert not embeddings.grad.any()
        assert {name: value.item() for name, value in output.metrics.items() if name != "temperature"} == {
            "negatives": 0,
            "accuracy": 0,
        }


def test_one_pair_with_a_hard_negative_has_a_term(make_loss, batch_of, unit_rows, agree):
    fields = {"query": [0], "positive": [1], "negative": [2], "negative_of": [0], "text_key": [1, 2, 3]}
    embeddings = unit_rows(3)
    total, terms, _ = plainly(embeddings, fields)
    agree(make_loss(InfoNCE()), batch_of(3, **fields), embeddings, total, terms)
    assert terms == 1


def test_embeddings_that_are_all_the_same_are_accurate_nowhere(make_loss, batch_of):
    embeddings = torch.ones(10, 4, dtype=torch.float64) / 2
    output = make_loss(InfoNCE()).losses_from(embeddings, batch_of(10, **FIELDS))
    assert output.metrics["accuracy"] == 0
    assert output.total.item() == pytest.approx(3 * log(7), rel=1e-12)


def test_large_logits_stay_finite_in_float32(make_loss, batch_of):
    embeddings = (100 * torch.eye(10)[:, :4]).requires_grad_()
    output = (
        make_loss(InfoNCE(temperature=0.01, normalize=False)).float().losses_from(embeddings, batch_of(10, **FIELDS))
    )
    output.total.backward()
    assert output.total.isfinite()
    assert embeddings.grad.isfinite().all()


def test_a_learned_temperature_has_the_gradient_of_the_formula(make_loss, batch_of, unit_rows):
    embeddings, loss = unit_rows(10), make_loss(InfoNCE(learn_temperature=True, hard_negative_weight=2.0))
    output = loss.losses_from(embeddings, batch_of(10, **FIELDS))
    output.total.backward()
    log_scale = loss.temperature.log_scale.detach().clone().requires_grad_()
    plainly(embeddings, FIELDS, temperature=1 / log_scale.exp(), weight=2.0)[0].sum().backward()
    torch.testing.assert_close(loss.temperature.log_scale.grad, log_scale.grad, rtol=1e-10, atol=1e-10)
    assert output.metrics["temperature"].item() / 3 == pytest.approx(0.05)
    assert [name for name, _ in loss.named_parameters()] == ["temperature.log_scale"]


def test_scores_in_blocks_are_the_scores(make_loss, batch_of, unit_rows, monkeypatch):
    from neobert.contrast import blocks

    embeddings, batch = unit_rows(10), batch_of(10, **FIELDS)
    for options in (InfoNCE(symmetric=True, hard_negative_weight=2.0), SimCSE()):
        loss = make_loss(options)
        whole = loss.losses_from(embeddings, batch)
        (expected,) = torch.autograd.grad(whole.total, embeddings)
        monkeypatch.setattr(blocks.sum_in_blocks, "__kwdefaults__", {"block_scores": 1})
        parts = loss.losses_from(embeddings, batch)
        (found,) = torch.autograd.grad(parts.total, embeddings)
        monkeypatch.undo()
        torch.testing.assert_close(parts.total, whole.total, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
        assert parts.count == whole.count
        assert {n: v.item() for n, v in parts.metrics.items()} == {n: v.item() for n, v in whole.metrics.items()}
