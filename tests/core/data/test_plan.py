"""The plan: every sequence once an epoch, whatever the sizes; any cursor continues it."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from neobert.data.cursor import Cursor
from neobert.data.plan import OrderedSource, Planner, Shape
from neobert.data.sequences import Cut
from neobert.errors import UserError

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=60).filter(any)
OVERFLOW = st.sampled_from(["split", "truncate"])
ROUNDS = 100
"""Epochs after which an example is given up that ends none with a plan."""


def planner(lengths, *, window=7, overflow="split", **shape):
    cut = Cut(np.array(lengths, dtype=np.int32), 8, overflow)
    return Planner(OrderedSource(cut, window, 3), Shape(4, 10, 2, **{"packed": True} | shape), 3)


def expected_pieces(lengths, overflow):
    for document, length in enumerate(lengths):
        stop = length if overflow == "split" else min(length, 8)
        yield from ((document, start, min(start + 8, stop)) for start in range(0, stop, 8))


def walk(plan, epochs):
    """Sequences trained on up to the first end of an epoch after these, those carried on, that epoch."""
    seen = Counter()
    for pieces, after in plan.micro_batches(Cursor()):
        seen.update(pieces.to_tuples())
        if after.epoch >= epochs and after.window == after.position == 0:
            return seen, Counter(after.carry), after.epoch
        # Plans of several windows may go round without any that ends with an epoch.
        assume(after.epoch < epochs + ROUNDS)
    raise AssertionError


@settings(deadline=None, max_examples=60)
@given(lengths=LENGTHS, overflow=OVERFLOW, window=st.integers(1, 30), packed=st.booleans(), full=st.booleans())
def test_every_sequence_exactly_once_an_epoch(lengths, overflow, window, packed, full):
    plan = planner(lengths, window=window, overflow=overflow, packed=packed, full=full)
    seen, carry, epochs = walk(plan, 2)
    expected = Counter(expected_pieces(lengths, overflow))
    assert seen + carry == Counter({piece: count * epochs for piece, count in expected.items()})
    if packed and not full:
        assert not carry


@settings(deadline=None, max_examples=40)
@given(lengths=LENGTHS, window=st.integers(1, 30), packed=st.booleans(), start=st.integers(0, 40))
def test_any_cursor_gives_the_unbroken_suffix(lengths, window, packed, start):
    plan = planner(lengths, window=window, packed=packed)
    unbroken = [(pieces.to_tuples(), after) for pieces, after in islice(plan.micro_batches(Cursor()), start + 12)]
    cursor = unbroken[start - 1][1] if start else Cursor()
    again = [(pieces.to_tuples(), after) for pieces, after in islice(plan.micro_batches(cursor), 12)]
    assert again == unbroken[start:]


def test_full_batches_hold_the_budget_and_short_ones_come_only_when_asked_for():
    lengths = np.random.default_rng(0).integers(1, 30, 400)
    tokens = {}
    for full in (True, False):
        plan = planner(lengths, window=50, full=full)
        batches = list(islice(plan.micro_batches(Cursor()), 200))
        tokens[full] = np.array([(pieces.lengths + 2).sum() for pieces, _ in batches])
        assert tokens[full].max() <= 40
    assert tokens[True].min() >= 36
    assert tokens[False].min() < 36


def test_unpacked_batches_have_the_same_number_of_sequences():
    plan = planner([5, 9, 3, 1, 0, 2, 17], packed=False)
    assert {len(pieces) for pieces, _ in islice(plan.micro_batches(Cursor()), 30)} == {4}


def test_group_by_length_keeps_similar_lengths_together():
    lengths = np.random.default_rng(0).integers(1, 8, 256)
    spread = {}
    for grouped in (True, False):
        plan = planner(lengths, window=128, packed=False, group_by_length=grouped)
        spread[grouped] = np.mean([np.ptp(pieces.lengths) for pieces, _ in islice(plan.micro_batches(Cursor()), 64)])
    assert spread[True] < spread[False] / 4


def test_one_tiny_document_trains_and_repeats():
    pieces, after = next(planner([3]).micro_batches(Cursor()))
    assert Counter(pieces.to_tuples()) == {(0, 0, 3): 8}
    assert after.epoch == 8


def test_nothing_to_train_on_is_an_error_not_a_loop():
    with pytest.raises(UserError, match="no sequence"):
        next(planner([0, 0]).micro_batches(Cursor()))


def test_drop_leaves_long_documents_out():
    plan = planner([8, 9, 3, 100], overflow="drop")
    seen, carry, _ = walk(plan, 3)
    assert {document for document, _, _ in seen + carry} == {0, 2}
