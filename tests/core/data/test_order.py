"""The order is a bijection, uniform, different each epoch, and cheap at any index."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from neobert.data.order import permute, shuffled


@given(size=st.integers(1, 3000), key=st.integers(0, 2**63 - 1))
def test_bijection(size, key):
    assert sorted(permute(np.arange(size), size, key).tolist()) == list(range(size))


@pytest.mark.parametrize("size", [99_991, 1_048_576, 2_000_003])
def test_bijection_of_millions(size):
    hit = np.zeros(size, dtype=bool)
    hit[permute(np.arange(size), size, 5)] = True
    assert hit.all()


@given(size=st.integers(1, 10**12), index=st.integers(0, 10**12), key=st.integers(0, 2**63 - 1))
def test_one_index_alone_is_the_same_and_lies_inside(size, index, key):
    index %= size
    alone = permute(np.array([index]), size, key)
    around = np.arange(max(0, index - 2), min(size, index + 3))
    assert 0 <= alone[0] < size
    assert alone[0] == permute(around, size, key)[np.flatnonzero(around == index)[0]]


def test_index_outside_is_refused():
    with pytest.raises(ValueError, match=r"0\.\.4"):
        permute(np.array([5]), 5, 1)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
def test_every_permutation_of_few_is_equally_likely(size):
    found = Counter(tuple(permute(np.arange(size), size, key).tolist()) for key in range(20 * factorial(size)))
    counts = [found[order] for order in permutations(range(size))]
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("size", [10, 37, 64])
def test_every_place_is_equally_likely(size):
    counts = np.zeros((size, size))
    for key in range(3000):
        counts[np.arange(size), permute(np.arange(size), size, key)] += 1
    assert stats.chisquare(counts, axis=1).pvalue.min() > 1e-5


@pytest.mark.parametrize("size", [4096, 5003, 20_011])
def test_many_items_go_anywhere_and_apart_from_each_other(size):
    """Over keys, the places of two items are independent and uniform: neighbours in a row, in a column, and far."""
    for pair in ((0, 1), (0, 71), (17, size - 1)):
        places = np.array([permute(np.array(pair), size, key) for key in range(4000)]) * 8 // size
        together = np.bincount(places[:, 0] * 8 + places[:, 1], minlength=64)
        assert stats.chisquare(together).pvalue > 1e-4


def test_neighbours_are_spread():
    order = permute(np.arange(100_000), 100_000, 3)
    gaps = np.histogram(np.diff(order) % 100_000, bins=50)[0]
    assert stats.chisquare(gaps).pvalue > 1e-4


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_epochs_and_seeds_differ(seed):
    places = np.arange(200)
    orders = [tuple(shuffled(places, 200, s, epoch)) for s in (seed, seed + 1) for epoch in range(3)]
    assert len(set(orders)) == 6


def test_order_does_not_change_between_versions():
    """A changed order would make every checkpoint's cursor point elsewhere."""
    assert shuffled(np.arange(10), 10, 42, 0).tolist() == [3, 5, 7, 0, 9, 4, 1, 6, 2, 8]
    assert shuffled(np.arange(5), 1_000_000, 42, 3).tolist() == [50216, 349155, 882256, 447248, 454846]
