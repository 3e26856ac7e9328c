"""Packing: within the budget, nothing twice, nothing lost, nearly full."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neobert.data.packing import LEFT, pack, pack_in_order

LENGTHS = st.lists(st.integers(1, 20), max_size=200).map(np.array)


def filled(lengths, packing):
    placed = packing.batch_of != LEFT
    return np.bincount(packing.batch_of[placed], weights=lengths[placed], minlength=packing.batches)


@given(lengths=LENGTHS, budget=st.integers(20, 200), keep=st.booleans())
def test_within_the_budget_and_no_batch_is_empty(lengths, budget, keep):
    packing = pack(lengths, budget, keep_remainder=keep)
    tokens = filled(lengths, packing)
    assert len(tokens) == packing.batches
    assert (tokens <= budget).all()
    assert (tokens > 0).all()


@given(lengths=LENGTHS, budget=st.integers(20, 200))
def test_what_is_left_over_is_less_than_a_budget(lengths, budget):
    packing = pack(lengths, budget)
    assert lengths[packing.batch_of == LEFT].sum() < budget


@given(lengths=LENGTHS, budget=st.integers(20, 200))
def test_keeping_the_remainder_places_everything(lengths, budget):
    assert (pack(lengths, budget, keep_remainder=True).batch_of != LEFT).all()


@given(lengths=LENGTHS, budget=st.integers(40, 200), data=st.data())
def test_what_was_carried_over_goes_first(lengths, budget, data):
    within = int(np.searchsorted(np.cumsum(lengths), budget))
    first = data.draw(st.integers(0, within))
    packing = pack(lengths, budget, first=first)
    if packing.batches:
        assert (packing.batch_of[:first] == 0).all()


@given(lengths=LENGTHS, budget=st.integers(20, 200))
def test_in_order_is_next_fit(lengths, budget):
    expected, batch, used = [], 0, 0
    for length in lengths.tolist():
        if used + length > budget:
            batch, used = batch + 1, 0
        used += length
        expected.append(batch)
    packing = pack_in_order(lengths, budget)
    assert packing.batch_of.tolist() == expected
    assert packing.batches == (batch + 1 if expected else 0)


def test_longer_than_the_budget_is_refused():
    with pytest.raises(ValueError, match="budget of 10"):
        pack(np.array([11]), 10)


def text_like(kind):
    rng = np.random.default_rng(3)
    if kind == "articles":
        return np.clip(rng.lognormal(6, 1.2, 16384), 3, 512).astype(int)
    if kind == "sentences":
        return np.clip(rng.lognormal(3.2, 0.8, 16384), 3, 512).astype(int)
    whole = np.full(12000, 512)
    return rng.permutation(np.concatenate((whole, rng.integers(3, 512, 4000))))  # books: pieces and their rests


@pytest.mark.parametrize("kind", ["articles", "sentences", "books"])
@pytest.mark.parametrize("sequences", [1, 2, 4, 8, 32])
def test_fill_is_at_least_99_percent(kind, sequences):
    lengths = text_like(kind)
    packing = pack(lengths, 512 * sequences)
    assert filled(lengths, packing).mean() / (512 * sequences) >= 0.99


def test_a_large_budget_mixes_lengths():
    lengths = text_like("articles")
    packing = pack(lengths, 512 * 32)
    means = filled(lengths, packing) / np.bincount(packing.batch_of[packing.batch_of != LEFT])
    assert means.max() < 2.5 * means.min()


def test_lengths_that_do_not_fit_together_still_go():
    lengths = np.full(1000, 300)
    packing = pack(lengths, 512)
    assert packing.batches == 999
    assert (packing.batch_of == LEFT).sum() == 1
