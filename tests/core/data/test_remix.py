"""A mixture that changes on the way: every source goes on from its place, and the new shares hold from there on."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import attrs
import numpy as np
import pytest

from neobert import Mixture, MixtureSource, UserError
from neobert.data.build import corpus_of
from neobert.data.cursor import Cursor
from neobert.data.ending import first_out, steps_left
from neobert.data.mixed_rows import mixed_stream
from neobert.data.remix import remixed
from neobert.mixture import SOURCE_COLUMN

RNG = np.random.default_rng(3)
LENGTHS = {"web": RNG.integers(1, 30, 90).tolist(), "books": RNG.integers(1, 9, 150).tolist()}


def mixture(web, books, **more):
    return Mixture(sources=(MixtureSource(name="web", weight=web), MixtureSource(name="books", weight=books)), **more)


@pytest.fixture
def make(make_data, make_rows, tokenizer):
    def of(mixed, streams=False, **wanted):
        import datasets

        parts = {name: make_rows(found, seed=number) for number, (name, found) in enumerate(LENGTHS.items())}
        if streams:
            rows = mixed_stream(parts | {"web": parts["web"].to_iterable_dataset()})
        else:
            numbered = [rows.add_column(SOURCE_COLUMN, [n] * len(rows)) for n, rows in enumerate(parts.values())]
            rows = datasets.concatenate_datasets(numbered)
        data = make_data([5], **{"packing_window": 40} | wanted)
        return attrs.evolve(data, corpus=corpus_of(rows, tokenizer, data.dataset_keys, data.collator_keys, mixed))

    return of


def tokens_of(data, pieces):
    return np.array(list(data.corpus.source_tokens(pieces).values()))


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("packed", [True, False])
def test_nothing_is_lost_and_the_new_shares_hold(make, streams, packed):
    before, now = mixture(0.6, 0.4), mixture(0.1, 0.9)
    old, new = (make(mixed, streams, pack_sequences=packed) for mixed in (before, now))
    seen, cursor = Counter(), Cursor()
    for pieces, after in islice(old.pieces(cursor), 23):
        seen.update(pieces.to_tuples())
        cursor = after
    assert cursor.position, "inside a window"
    moved = remixed(new, before, cursor)
    assert new.corpus.fits(moved)
    assert moved.window == 0
    shares = np.zeros(2)
    for number, (pieces, after) in enumerate(new.pieces(Cursor.from_json(moved.to_json()))):
        seen.update(pieces.to_tuples())
        if after.window > 0:
            shares += tokens_of(new, pieces)
        if number > 40 and after.position == 0:
            break
    assert shares / shares.sum() == pytest.approx([0.1, 0.9], abs=0.04)
    left = Counter(after.carry)
    for number, (name, (epoch, _, done, _, _)) in enumerate(zip(LENGTHS, after.marks, strict=True)):
        if streams:
            own = [count for piece, count in (seen + left).items() if piece[0] % 2 == number]
        else:
            own = [count for piece, count in (seen + left).items() if (piece[0] >= 90) == bool(number)]
        assert set(own) <= {epoch, epoch + 1}, f"{name}: each sequence once a pass"
        if not streams:
            assert sum(own) == epoch * new.corpus.lanes[number].sequences + done


@pytest.mark.parametrize("streams", [False, True])
def test_it_is_resumed_like_any_run(make, streams):
    before, now = mixture(0.6, 0.4), mixture(0.1, 0.9)
    *_, (_, cursor) = islice(make(before, streams).pieces(Cursor()), 17)
    moved = remixed(make(now, streams), before, cursor)
    unbroken = [(p.to_tuples(), after) for p, after in islice(make(now, streams).pieces(moved), 40)]
    for stop in (1, 2, 9, 25):
        again = islice(make(now, streams).pieces(unbroken[stop - 1][1]), 15)
        assert [(p.to_tuples(), after) for p, after in again] == unbroken[stop : stop + 15]


def test_what_no_permission_makes_possible(make):
    before = mixture(0.6, 0.4)
    *_, (_, cursor) = islice(make(before).pieces(Cursor()), 60)
    assert cursor.marks[1][0], "books have been read through"
    stopping = mixture(0.6, 0.4, when_exhausted="stop")
    with pytest.raises(UserError, match=r'"stop" cannot come now.*already: web, books'):
        remixed(make(stopping), before, cursor)
    other = attrs.evolve(before, sources=(attrs.evolve(before.sources[0], min_length=4), before.sources[1]))
    with pytest.raises(UserError, match="a place in one set of documents"):
        remixed(make(other), before, cursor)


def test_a_change_to_stop_ends_where_the_source_does(make):
    before, now = mixture(0.6, 0.4), mixture(0.5, 0.5, when_exhausted="stop")
    *_, (_, cursor) = islice(make(before).pieces(Cursor()), 9)
    data = make(now)
    moved = remixed(data, before, cursor)
    trained = sum(tokens_of(data, pieces) for pieces, _ in data.pieces(moved))
    early = sum(tokens_of(data, pieces) for pieces, _ in islice(make(before).pieces(Cursor()), 9))
    assert (trained + early)[1] == pytest.approx(sum(LENGTHS["books"]), abs=30)
    assert first_out(data, moved) == "books"


@pytest.mark.parametrize("packed", [True, False])
def test_the_steps_that_are_left_are_counted(make, packed):
    data = make(mixture(0.6, 0.4, when_exhausted="stop"), pack_sequences=packed, gradient_accumulation_steps=2)
    steps = list(data.steps(data.start(), 0))
    data.close()
    assert steps_left(data, data.start(), len(steps) + 1) == len(steps)
    assert steps_left(data, data.start(), 10_000) == len(steps)
    assert steps_left(data, steps[4].cursor, 10_000) == len(steps) - 5
    assert steps_left(data, data.start(), len(steps)) is None
    assert steps_left(data, data.start(), 1) is None
    assert steps_left(make(mixture(0.6, 0.4)), Cursor(), 10_000) is None
    assert first_out(data, steps[-1].cursor) == "books"
