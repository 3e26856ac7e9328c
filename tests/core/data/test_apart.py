"""No two examples with a common text share a micro-batch, and none is lost for it."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from attrs import frozen
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from neobert.data.apart import Shared, by_count, in_order, pack_apart
from neobert.data.arrange import arrange
from neobert.data.cursor import Cursor
from neobert.data.packing import LEFT
from neobert.data.plan import OrderedSource, Planner, Shape
from neobert.data.sequences import whole
from neobert.data.text_keys import TextKeys
from neobert.errors import UserError

TEXTS = st.lists(st.lists(st.integers(1, 25), min_size=1, max_size=3), min_size=1, max_size=70)
"""The texts of each example, which may have one twice."""


def keys_of(texts):
    """The keys of examples with these texts, as a table would have them."""
    example = [number for number, own in enumerate(texts) for _ in own]
    key = [text for own in texts for text in own]
    arrays = (np.array(part, dtype=np.int64) for part in (example, key))
    return TextKeys(*arrays, lambda example, key: f"text {key}")


def shared_among(texts):
    return Shared.among(keys_of(texts), len(texts))


def batches_of(batch_of):
    found = {}
    for example, batch in enumerate(batch_of.tolist()):
        if batch != LEFT:
            found.setdefault(batch, []).append(example)
    return found


def assert_apart(batch_of, texts):
    for examples in batches_of(batch_of).values():
        held = Counter(text for example in examples for text in set(texts[example]))
        assert max(held.values()) == 1


def test_what_is_shared():
    shared = shared_among([[1, 1, 2], [3], [2, 4], [5, 4], [6]])
    assert {example: len(own) for example, own in shared.of.items()} == {0: 1, 2: 2, 3: 1}
    assert {shared.keys[text] for own in shared.of.values() for text in own} == {2, 4}
    assert shared.commonness(2) == 2
    assert not shared_among([[1], [2, 2]]).of
    assert not Shared.among(None, 5).of


@settings(deadline=None, max_examples=200)
@given(texts=TEXTS, size=st.integers(1, 9), turned=st.booleans())
def test_batches_of_a_number_are_full_and_apart(texts, size, turned):
    order = np.arange(len(texts))[:: -1 if turned else 1].copy()
    packing = by_count(order, size, shared_among(texts))
    assert all(len(examples) == size for examples in batches_of(packing.batch_of).values())
    assert sorted(batches_of(packing.batch_of)) == list(range(packing.batches))
    assert_apart(packing.batch_of, texts)


@given(count=st.integers(1, 50), size=st.integers(1, 8))
def test_without_a_common_text_it_is_the_order_cut_into_batches(count, size):
    packing = by_count(np.arange(count), size, shared_among([[number] for number in range(count)]))
    expected = np.arange(count) // size
    assert packing.batch_of.tolist() == np.where(expected < count // size, expected, LEFT).tolist()


@pytest.mark.parametrize("size", [2, 3, 8])
def test_a_text_that_is_in_every_batch_costs_none(size):
    """As many as there are batches, wherever they stand: all batches are filled."""
    batches = 40
    for seed in range(5):
        places = np.random.default_rng(seed).permutation(batches * size)[:batches]
        texts = [[1] if number in set(places.tolist()) else [1000 + number] for number in range(batches * size)]
        packing = by_count(np.arange(len(texts)), size, shared_among(texts))
        assert packing.batches == batches
        assert_apart(packing.batch_of, texts)


def test_every_text_twice_costs_none():
    texts = [[number // 2] for number in np.random.default_rng(0).permutation(960).tolist()]
    packing = by_count(np.arange(960), 32, shared_among(texts))
    assert packing.batches == 30
    assert_apart(packing.batch_of, texts)


@settings(deadline=None, max_examples=200)
@given(data=st.data(), texts=TEXTS, keep=st.booleans())
def test_packed_batches_hold_the_budget_and_are_apart(data, texts, keep):
    lengths = np.array(data.draw(st.lists(st.integers(1, 20), min_size=len(texts), max_size=len(texts))))
    carried = data.draw(st.integers(0, len(texts)))
    packing = pack_apart(lengths, 24, shared_among(texts), carried=carried, keep_remainder=keep)
    for examples in batches_of(packing.batch_of).values():
        assert lengths[examples].sum() <= 24
    assert_apart(packing.batch_of, texts)
    if keep:
        assert not (packing.batch_of == LEFT).any()
        assert sorted(batches_of(packing.batch_of)) == list(range(packing.batches))


def test_packed_batches_stay_full_where_some_texts_are_common():
    rng = np.random.default_rng(0)
    lengths = rng.integers(10, 200, 4000)
    texts = [[text] for text in rng.integers(0, 1500, 4000).tolist()]
    packing = pack_apart(lengths, 4096, shared_among(texts), carried=0, keep_remainder=False)
    assert lengths[packing.batch_of != LEFT].sum() > 0.995 * packing.batches * 4096
    assert_apart(packing.batch_of, texts)


def test_what_was_carried_over_comes_first_as_far_as_it_may():
    texts = [[1], [1], [2], *([100 + number] for number in range(20))]
    packing = pack_apart(np.full(23, 4), 16, shared_among(texts), carried=3, keep_remainder=False)
    assert packing.batch_of[[0, 2]].tolist() == [0, 0]
    assert packing.batch_of[1] not in (0, LEFT)


@settings(deadline=None, max_examples=200)
@given(texts=TEXTS, budget=st.integers(1, 30), data=st.data())
def test_taken_as_they_come_all_are_placed_and_apart(texts, budget, data):
    sizes = np.array(data.draw(st.lists(st.integers(1, budget), min_size=len(texts), max_size=len(texts))))
    packing = in_order(sizes, budget, shared_among(texts))
    assert sorted(batches_of(packing.batch_of)) == list(range(packing.batches))
    assert np.bincount(packing.batch_of, weights=sizes).max() <= budget
    assert_apart(packing.batch_of, texts)


def test_taken_as_they_come_in_their_own_order():
    packing = in_order(np.ones(10, dtype=np.int64), 4, shared_among([[number] for number in range(10)]))
    assert packing.batch_of.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]


SHAPE = {"max_seq_length": 10, "special": 0}


@given(texts=TEXTS, size=st.integers(1, 6), sources=st.integers(1, 3), packed=st.booleans(), grouped=st.booleans())
@settings(deadline=None, max_examples=150)
def test_one_source_a_batch(texts, size, sources, packed, grouped):
    shape = Shape(size, packed=packed, group_by_length=grouped and not packed, **SHAPE)
    groups = np.arange(len(texts)) % sources
    lengths = np.random.default_rng(0).integers(1, 9, len(texts))
    try:
        packing = arrange(lengths, 0, keys_of(texts), groups, shape)
    except UserError:
        reject()  # too few texts to be kept apart
    for examples in batches_of(packing.batch_of).values():
        assert len({groups[example] for example in examples}) == 1
        assert packed or len(examples) == size
    assert sorted(batches_of(packing.batch_of)) == list(range(packing.batches))
    assert_apart(packing.batch_of, texts)


def test_batches_of_several_sources_come_in_the_order_of_their_examples():
    groups = np.array([0, 1, 1, 1, 0, 1, 0, 0])
    packing = arrange(np.ones(8, dtype=np.int64), 0, None, groups, Shape(2, packed=False, **SHAPE))
    assert packing.batch_of.tolist() == [1, 0, 0, 2, 1, 2, 3, 3]


def test_one_text_in_every_row_is_refused_with_its_beginning():
    texts = [[7, 100 + number] for number in range(200)]
    with pytest.raises(UserError) as error:
        arrange(np.ones(200, dtype=np.int64), 0, keys_of(texts), None, Shape(4, packed=False, **SHAPE))
    assert "one text is in 200 examples of them; it begins: 'text 7'" in str(error.value)


@frozen
class Table:
    """Texts by row, as `KeyTable` has them."""

    texts: list

    def of(self, rows):
        return keys_of([self.texts[row] for row in rows.tolist()])


def planner(texts, *, window, size, **shape):
    lengths = np.random.default_rng(1).integers(1, 8, len(texts)).astype(np.int32)
    source = OrderedSource(whole(lengths), window, 3, Table(texts))
    return Planner(source, Shape(size, **SHAPE, **{"packed": False} | shape), 3)


def rare_texts(draw):
    """Examples with two texts each, of which none is in more of them than an epoch has micro-batches."""
    size = draw(st.integers(1, 5))
    count = draw(st.integers(4 * size, 60))
    most = count // size
    texts = draw(st.lists(st.lists(st.integers(1, 40), min_size=2, max_size=2), min_size=count, max_size=count))
    counts = Counter()
    for number, own in enumerate(texts):
        for place, text in enumerate(own):
            if counts[text] >= most // 2:
                own[place] = text = 1000 + 2 * number + place
            counts[text] += 1
    return size, texts


@settings(deadline=None, max_examples=100)
@given(data=st.data(), window=st.integers(1, 40), grouped=st.booleans(), packed=st.booleans(), full=st.booleans())
def test_every_example_exactly_once_an_epoch(data, window, grouped, packed, full):
    size, texts = rare_texts(data.draw)
    plan = planner(texts, window=window, size=size, packed=packed, full=full, group_by_length=grouped and not packed)
    seen = Counter()
    for pieces, after in plan.micro_batches(Cursor()):
        rows = pieces.document.tolist()
        held = Counter(text for row in rows for text in set(texts[row]))
        assert max(held.values()) == 1
        assert packed or len(rows) == size
        assert not packed or pieces.lengths.sum() <= plan.shape.budget
        seen.update(rows)
        if after.epoch >= 3 and after.window == after.position == 0:
            break
    seen.update(document for document, _, _ in after.carry)
    assert seen == Counter(dict.fromkeys(range(len(texts)), after.epoch))


@settings(deadline=None, max_examples=60)
@given(data=st.data(), window=st.integers(1, 40), packed=st.booleans(), start=st.integers(0, 30))
def test_any_cursor_gives_the_unbroken_suffix(data, window, packed, start):
    size, texts = rare_texts(data.draw)
    plan = planner(texts, window=window, size=size, packed=packed)
    unbroken = [(pieces.to_tuples(), after) for pieces, after in islice(plan.micro_batches(Cursor()), start + 12)]
    cursor = Cursor.from_json(unbroken[start - 1][1].to_json()) if start else Cursor()
    again = [(pieces.to_tuples(), after) for pieces, after in islice(plan.micro_batches(cursor), 12)]
    assert again == unbroken[start:]


def test_what_can_never_be_apart_ends_with_an_error_and_not_in_a_loop():
    texts = [[number // 8] for number in range(16)]  # two texts: a micro-batch of three cannot be
    with pytest.raises(UserError, match="cannot be placed"):
        next(planner(texts, window=4, size=3).micro_batches(Cursor()))
