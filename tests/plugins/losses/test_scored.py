"""Losses of scored pairs against loops over pairs."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neobert_plugins.losses import CoSENT, CosineMSE
from neobert_plugins.losses.scored import ranking_loss

PAIRS = {"first": [0, 1, 2, 3], "second": [4, 5, 6, 7]}


def cosine(e, i):
    a, b = e[PAIRS["first"][i]], e[PAIRS["second"][i]]
    return a @ b / (a.norm() * b.norm())


def ranked(values, scores):
    """log(1 + sum of exp(value_j - value_i) where score_i > score_j), pair by pair."""
    together = 1.0
    for i, above in enumerate(scores):
        for j, below in enumerate(scores):
            if above > below:
                together = together + torch.exp(values[j] - values[i])
    return torch.log(torch.as_tensor(together, dtype=torch.float64))


@pytest.mark.parametrize("scores", [[0.1, 0.9, 0.5, 0.3], [3.0, 3.0, 1.0, 2.0], [-1.0, 5.0, 5.0, 5.0]], ids=str)
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_cosent_is_the_formula_times_the_pairs(scores, temperature, make_loss, batch_of, unit_rows, agree):
    embeddings = unit_rows(8)
    values = [cosine(embeddings, i) / temperature for i in range(4)]
    batch = batch_of(8, **PAIRS, score=torch.tensor(scores))
    assert agree(make_loss(CoSENT(temperature=temperature)), batch, embeddings, 4 * ranked(values, scores), 4) == {}


@settings(deadline=None, max_examples=60)
@given(scores=st.lists(st.integers(0, 4).map(float), min_size=1, max_size=9), seed=st.integers(0, 1000))
def test_sorting_is_looking_at_every_two(scores, seed):
    generator = torch.Generator().manual_seed(seed)
    values = (5 * torch.randn(len(scores), dtype=torch.float64, generator=generator)).requires_grad_()
    found, expected = ranking_loss(values, torch.tensor(scores)), ranked(values, scores)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    (ours,) = torch.autograd.grad(found, values)
    theirs = torch.autograd.grad(expected, values)[0] if expected.requires_grad else torch.zeros_like(values)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_ranking_stays_finite_in_float32():
    values = torch.tensor([-100.0, 100.0, 90.0, -90.0], requires_grad=True)
    loss = ranking_loss(values, torch.tensor([4.0, 1.0, 2.0, 3.0]))
    loss.backward()
    assert loss.item() == pytest.approx(200.0)
    assert values.grad.tolist() == pytest.approx([-1.0, 1.0, 0.0, 0.0], abs=1e-3)


@pytest.mark.parametrize("scores", [[1.0, 1.0, 1.0, 1.0], [2.0]], ids=["all the same", "one pair"])
def test_nothing_to_rank_is_a_finite_zero(scores, make_loss, batch_of, unit_rows):
    embeddings = unit_rows(8)
    pairs = {name: value[: len(scores)] for name, value in PAIRS.items()}
    output = make_loss(CoSENT()).losses_from(embeddings, batch_of(8, **pairs, score=torch.tensor(scores)))
    output.total.backward()
    assert (output.total.item(), output.count.item()) == (0.0, 0)
    assert not embeddings.grad.any()


@pytest.mark.parametrize("max_score", [1.0, 5.0])
def test_cosine_mse_is_the_squared_difference(max_score, make_loss, batch_of, unit_rows, agree):
    embeddings, scores = unit_rows(8), torch.tensor([0.5, 4.0, 1.0, -1.0])
    expected = sum((cosine(embeddings, i) - scores[i].double() / max_score) ** 2 for i in range(4))
    batch = batch_of(8, **PAIRS, score=scores)
    assert agree(make_loss(CosineMSE(max_score=max_score)), batch, embeddings, expected, 4) == {}


def test_a_temperature_of_a_twentieth_is_a_scale_of_twenty(make_loss, batch_of, unit_rows):
    embeddings, scores = unit_rows(8), [0.1, 0.9, 0.5, 0.3]
    found = make_loss(CoSENT()).losses_from(embeddings, batch_of(8, **PAIRS, score=torch.tensor(scores)))
    values = [20.0 * cosine(embeddings, i) for i in range(4)]
    assert math.isclose(found.total.item() / 4, ranked(values, scores).item(), rel_tol=1e-12)
