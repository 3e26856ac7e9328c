"""Sequences cut into pieces: all of their tokens, in order, and nowhere more than the limit."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neobert.data.sequences import Pieces, SpecialTokens
from neobert.data.shortening import cuts, not_whole, shorten, shortened

SPECIALS = [SpecialTokens(), SpecialTokens((2,), (3,)), SpecialTokens((2, 4), ()), SpecialTokens((), (3, 3))]


@st.composite
def planned(draw):
    """A plan's sequences: documents, and stretches of them, of which each has a token."""
    rows = st.tuples(st.integers(0, 6), st.integers(0, 40), st.integers(1, 50))
    found = draw(st.lists(rows, min_size=1, max_size=12))
    return Pieces.from_tuples(tuple((document, start, start + length) for document, start, length in found))


def tokens(pieces, special):
    """Ids that tell of which document and where they are."""
    return [special.around(np.arange(start, stop) + 1000 * (row + 1)) for row, start, stop in pieces.to_tuples()]


@settings(deadline=None)
@given(planned(), st.sampled_from(SPECIALS), st.integers(3, 60))
def test_pieces_joined_are_the_sequences(pieces, special, limit):
    sequences = tokens(pieces, special)
    found = shorten(sequences, limit)
    assert all(1 <= len(piece) <= limit for piece in found)
    assert np.array_equal(np.concatenate(found), np.concatenate(sequences))
    # no piece reaches over the end of a sequence: every sequence's end is a piece's end
    ends = set(np.cumsum([len(piece) for piece in found]).tolist())
    assert set(np.cumsum([len(sequence) for sequence in sequences]).tolist()) <= ends
    # and none is cut more often than it has to be
    assert len(found) == sum(-(-len(sequence) // limit) for sequence in sequences)


@settings(deadline=None)
@given(planned(), st.sampled_from(SPECIALS), st.integers(3, 60))
def test_what_pieces_hold_of_documents_is_what_stands_in_them(pieces, special, limit):
    held, sequence = shortened(pieces, special, limit)
    found = shorten(tokens(pieces, special), limit)
    assert len(held) == len(found) == len(sequence)
    for (row, start, stop), piece in zip(held.to_tuples(), found, strict=True):
        assert piece[piece >= 1000].tolist() == list(range(1000 * (row + 1) + start, 1000 * (row + 1) + stop))
    assert not not_whole(pieces, held, sequence).any()


def test_a_plain_loop_cuts_alike():
    rng = np.random.default_rng(0)
    for _ in range(200):
        lengths, limit = rng.integers(1, 90, rng.integers(1, 9)), int(rng.integers(1, 50))
        expected = [
            (number, begin, min(begin + limit, length))
            for number, length in enumerate(lengths.tolist())
            for begin in range(0, length, limit)
        ]
        assert [*zip(*(column.tolist() for column in cuts(lengths, limit)), strict=True)] == expected


def test_special_tokens_may_stand_alone_and_hold_nothing():
    special = SpecialTokens((2,), (3,))
    found = shorten([special.around(np.arange(10, 17))], 8)
    assert [piece.tolist() for piece in found] == [[2, 10, 11, 12, 13, 14, 15, 16], [3]]
    held, _ = shortened(Pieces.from_tuples(((5, 20, 27),)), special, 8)
    assert held.to_tuples() == ((5, 20, 27), (5, 27, 27))


def without(column, place):
    return np.delete(column, place)


CHANGES = {
    "lost": lambda held, number: (held[without(np.arange(len(held)), 3)], without(number, 3)),
    "all of one lost": lambda held, number: (held[number != 1], number[number != 1]),
    "repeated": lambda held, number: (held[np.append(np.arange(len(held)), -1)], np.append(number, number[-1])),
    "two in the other's place": lambda held, number: (held[np.r_[0, 2, 1, 3 : len(held)]], number),
    "short": lambda held, number: (attrs.evolve(held, stop=held.stop - (np.arange(len(held)) == 2)), number),
    "of another document": lambda held, number: (
        attrs.evolve(held, document=held.document + (np.arange(len(held)) == 1)),
        number,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_pieces_that_are_not_all_are_found(change):
    plan = Pieces.from_tuples(((0, 0, 50), (3, 10, 45), (4, 0, 9)))
    special = SpecialTokens((2,), (3,))
    held, number = shortened(plan, special, 16)
    assert not not_whole(plan, held, number).any()
    assert not_whole(plan, *CHANGES[change](held, number)).any()
