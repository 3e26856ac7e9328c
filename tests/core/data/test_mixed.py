"""Mixtures: exact proportions at every moment, each source's own order, any cursor, any number of ranks."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neobert import Mixture, MixtureSource, UserError
from neobert.data.cursor import Cursor
from neobert.data.mixed import JoinedDocuments, MixedCorpus
from neobert.data.plan import Planner, Shape

BODY = 8


class Stub:
    """Documents of these lengths, without tokens."""

    def __init__(self, lengths):
        self.lengths = np.array(lengths, dtype=np.int32)
        self.fingerprint = "stub"

    def __len__(self):
        return len(self.lengths)


def mixed(lengths, weights=None, *, window=7, overflow="split", alpha=1.0, stop=False, filters=None, names="abcd"):
    """A corpus of sources a, b, ... with documents of these lengths each."""
    names = list(names[: len(lengths)])
    weights = weights or [None] * len(names)
    bounds = filters or [{}] * len(names)
    mixture = Mixture(
        sources=tuple(
            MixtureSource(name=n, weight=w, **bound) for n, w, bound in zip(names, weights, bounds, strict=True)
        ),
        alpha=alpha,
        when_exhausted="stop" if stop else "repeat",
    )
    stores = {name: Stub(found) for name, found in zip(names, lengths, strict=True)}
    return MixedCorpus(JoinedDocuments(stores), mixture, BODY, overflow, window)


def planner(corpus, seed=3, **shape):
    return Planner(corpus.source(seed), Shape(4, 10, 2, **{"packed": True} | shape), seed)


def sequences(corpus, count, seed=3):
    """The mixture's first sequences, before any packing."""
    source = corpus.source(seed)
    source.begin(Cursor())
    found, window = [], 0
    while len(found) < count:
        found += source.window(0, window).to_tuples()
        window += 1
    return found[:count]


def source_of(corpus, document):
    return int(np.searchsorted(corpus.documents.bounds, document, side="right")) - 1


LENGTHS = st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=30).filter(any), min_size=1, max_size=4)


@settings(deadline=None, max_examples=40)
@given(lengths=LENGTHS, window=st.integers(1, 40), data=st.data())
def test_shares_are_exact_at_every_moment(lengths, window, data):
    weights = data.draw(st.lists(st.floats(0.05, 1.0), min_size=len(lengths), max_size=len(lengths)))
    corpus = mixed(lengths, weights, window=window)
    shares = np.array(weights) / sum(weights)
    tokens = np.zeros(len(lengths))
    bound = BODY * (len(lengths) + 1) / 2 + 1
    for document, start, stop in sequences(corpus, 400):
        tokens[source_of(corpus, document)] += stop - start
        assert np.abs(tokens - shares * tokens.sum()).max() <= bound


def test_shares_stay_exact_for_very_different_lengths_and_long_runs():
    rng = np.random.default_rng(0)
    corpus = mixed([rng.integers(1, 3, 500), rng.integers(6, 9, 40), [8]], [0.5, 0.3, 0.2], window=200)
    tokens, worst = np.zeros(3), 0.0
    for document, start, stop in sequences(corpus, 100_000):
        tokens[source_of(corpus, document)] += stop - start
        worst = max(worst, np.abs(tokens - np.array([0.5, 0.3, 0.2]) * tokens.sum()).max())
    assert tokens.sum() > 200_000
    assert worst <= 2 * BODY + 1


@settings(deadline=None, max_examples=25)
@given(lengths=LENGTHS, overflow=st.sampled_from(["split", "truncate"]), window=st.integers(1, 30))
def test_every_sequence_once_a_pass_of_its_own_source(lengths, overflow, window):
    corpus = mixed(lengths, window=window, overflow=overflow)
    found = sequences(corpus, 300)
    for lane in corpus.lanes:
        own = [piece for piece in found if corpus.mixture.names[source_of(corpus, piece[0])] == lane.name]
        expected = Counter(corpus.cut.pieces(np.arange(lane.first, lane.first + lane.sequences)).to_tuples())
        passes = [own[first : first + lane.sequences] for first in range(0, len(own), lane.sequences)]
        assert all(Counter(one) == expected for one in passes[:-1])
        assert Counter(passes[-1]) <= expected
        if lane.sequences > 8 and len(passes) > 2:
            assert passes[0] != passes[1], "another order in another pass"


def test_packing_and_carrying_lose_and_repeat_nothing():
    rng = np.random.default_rng(1)
    corpus = mixed([rng.integers(0, 30, 40), rng.integers(1, 5, 90)], [3, 1], window=16)
    found = list(islice(planner(corpus).micro_batches(Cursor()), 300))
    trained, after = Counter(piece for pieces, _ in found for piece in pieces.to_tuples()), found[-1][1]
    while after.position:  # to the end of the plan that it stands in
        pieces, after = next(planner(corpus).micro_batches(after))
        trained.update(pieces.to_tuples())
    trained.update(after.carry)
    assert after.marks
    taken = sum(
        epoch * lane.sequences + done for (epoch, _, done, _, _), lane in zip(after.marks, corpus.lanes, strict=True)
    )
    assert trained == Counter(sequences(corpus, taken))


@settings(deadline=None, max_examples=30)
@given(lengths=LENGTHS, window=st.integers(1, 30), packed=st.booleans(), start=st.integers(0, 40))
def test_any_cursor_gives_the_unbroken_suffix(lengths, window, packed, start):
    corpus = mixed(lengths, window=window)
    unbroken = [
        (pieces.to_tuples(), after)
        for pieces, after in islice(planner(corpus, packed=packed).micro_batches(Cursor()), start + 12)
    ]
    cursor = Cursor.from_json(unbroken[start - 1][1].to_json()) if start else Cursor()
    assert corpus.fits(cursor)
    again = [
        (pieces.to_tuples(), after)
        for pieces, after in islice(planner(corpus, packed=packed).micro_batches(cursor), 12)
    ]
    assert again == unbroken[start:]


def test_a_source_keeps_its_order_whatever_it_is_mixed_with():
    rng = np.random.default_rng(2)
    own = rng.integers(1, 9, 50)
    alone = sequences(mixed([own]), 40)
    beside = mixed([rng.integers(1, 9, 70), own], [0.6, 0.4], names="xa")
    found = [(document - 70, start, stop) for document, start, stop in sequences(beside, 200) if document >= 70]
    assert found[:40] == alone
    assert sequences(mixed([own], names="b"), 40) != alone
    assert sequences(mixed([own]), 40, seed=4) != alone


def test_sizes_weigh_unless_weights_are_given_and_alpha_tempers_them():
    lengths = [[8] * 16, [8]]
    assert [lane.share for lane in mixed(lengths).lanes] == pytest.approx([16 / 17, 1 / 17])
    assert [lane.share for lane in mixed(lengths, alpha=0.5).lanes] == pytest.approx([4 / 5, 1 / 5])
    assert [lane.share for lane in mixed(lengths, alpha=0.0).lanes] == [0.5, 0.5]
    assert [lane.share for lane in mixed(lengths, [3, 1]).lanes] == [0.75, 0.25]


def test_filters_are_counted_and_an_empty_source_is_named():
    corpus = mixed([[1, 2, 3, 9, 0], [5, 5]], filters=[{"min_length": 2, "max_length": 3}, {}])
    assert {document for document, _, _ in sequences(corpus, 200)} == {1, 2, 5, 6}
    first, second = corpus.sources
    assert (first.documents, first.too_short, first.too_long, first.tokens) == (2, 1, 1, 5)
    assert (second.documents, second.too_short, second.too_long) == (2, 0, 0)
    assert "left out: 1 under min_length, 1 over max_length" in first.line()
    with pytest.raises(UserError, match=r"source 'b' has nothing .*2 shorter than min_length = 6.*lengths are 5 to 5"):
        mixed([[1], [5, 5]], filters=[{}, {"min_length": 6}])
    with pytest.raises(UserError, match=r"source 'b' has nothing .* 1 empty"):
        mixed([[1], [0]])
    with pytest.raises(UserError, match=r"source 'a' has nothing .* 1 dropped"):
        mixed([[9], [1]], overflow="drop")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("full", [True, False])
def test_stop_ends_where_the_first_source_does(packed, full):
    rng = np.random.default_rng(5)
    corpus = mixed([rng.integers(1, 9, 50), rng.integers(1, 9, 200)], [0.5, 0.5], stop=True, window=16)
    found = list(islice(planner(corpus, packed=packed, full=full).micro_batches(Cursor()), 1000))
    trained = Counter(piece for pieces, _ in found for piece in pieces.to_tuples())
    left = Counter(planner(corpus, packed=packed, full=full).plan(found[-1][1]).after.carry)
    assert max(trained.values()) == 1
    assert {document for document, _, _ in trained + left if document < 50} == set(range(50)), "all of the first"
    tokens = np.zeros(2)
    for document, start, stop in (trained + left).elements():
        tokens[source_of(corpus, document)] += stop - start
    assert abs(tokens[0] - tokens[1]) <= BODY
    assert corpus.fits(found[-1][1])
    assert not list(planner(corpus, packed=packed, full=full).micro_batches(found[-1][1]))
    if packed and not full:
        assert not left


def test_marks_of_another_mixture_are_refused():
    rng = np.random.default_rng(6)
    lengths = [rng.integers(1, 9, 50), rng.integers(1, 9, 80)]
    corpus = mixed(lengths, [0.5, 0.5])
    cursor = list(islice(planner(corpus).micro_batches(Cursor()), 60))[-1][1]
    assert cursor.window > 3
    assert corpus.fits(cursor)
    assert not mixed(lengths, [0.8, 0.2]).fits(cursor)
    assert not mixed(lengths, [0.5, 0.5], window=30).fits(cursor)
    assert not mixed([*lengths, [3]], [0.5, 0.5, 0.1]).fits(cursor)
    assert not corpus.fits(Cursor(window=3))


def test_a_mixture_that_contradicts_itself():
    with pytest.raises(ValueError, match="its own name"):
        Mixture(sources=(MixtureSource(name="a"), MixtureSource(name="a")))
    with pytest.raises(ValueError, match="or none has"):
        Mixture(sources=(MixtureSource(name="a", weight=1.0), MixtureSource(name="b")))
