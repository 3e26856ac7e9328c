"""Mixtures: exact proportions at every moment, each source's own order, any cursor, any number of ranks."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neobert import Mixture, MixtureSource, UserError
from neobert.data.build import corpus_of, documents_of
from neobert.data.columns import prepare_columns
from neobert.data.cursor import Cursor
from neobert.data.mixed import JoinedDocuments, MixedCorpus
from neobert.data.plan import Planner, Shape
from neobert.mixture import SOURCE_COLUMN
from neobert.served import CollatorKeys, DatasetKeys

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


MIXTURE = Mixture(
    sources=(MixtureSource(name="long", weight=0.6, min_length=3), MixtureSource(name="short", weight=0.4))
)


@pytest.fixture
def mixed_rows(make_rows):
    rng = np.random.default_rng(7)
    parts = [make_rows(rng.integers(0, 40, 60).tolist(), seed=1), make_rows(rng.integers(1, 6, 90).tolist(), seed=2)]
    return datasets.concatenate_datasets(
        [rows.add_column(SOURCE_COLUMN, [number] * len(rows)) for number, rows in enumerate(parts)]
    )


@pytest.fixture
def make_mixed(make_data, mixed_rows, tokenizer):
    """`TrainingData` of the rows above."""
    import attrs

    def make(mixture=MIXTURE, **wanted):
        data = make_data([5], **wanted)
        corpus = corpus_of(mixed_rows, tokenizer, data.dataset_keys, data.collator_keys, mixture)
        return attrs.evolve(data, corpus=corpus)

    return make


def steps_of(data, count, cursor=None, step=0):
    found = list(islice(data.steps(cursor or data.start(), step), count))
    data.close()
    return found


def contents(step):
    return [(micro.seed, micro.batch.layout.lengths, micro.batch.input_ids.tolist()) for micro in step.micro_batches]


@pytest.mark.parametrize("packed", [True, False])
def test_ranks_share_one_stream_and_one_count(make_mixed, packed):
    alone = steps_of(make_mixed(gradient_accumulation_steps=4, pack_sequences=packed), 12)
    for world_size in (2, 4):
        wanted = {"gradient_accumulation_steps": 4 // world_size, "world_size": world_size, "pack_sequences": packed}
        ranks = [steps_of(make_mixed(rank=rank, **wanted), 12) for rank in range(world_size)]
        for number, step in enumerate(alone):
            shared = [contents(ranks[g % world_size][number])[g // world_size] for g in range(4)]
            assert shared == contents(step)
            assert all(rank[number].source_tokens == step.source_tokens for rank in ranks)


def test_resuming_and_workers_change_nothing(make_mixed):
    unbroken = steps_of(make_mixed(), 60)
    for stop in (1, 20, 45):
        cursor = Cursor.from_json(unbroken[stop - 1].cursor.to_json())
        resumed = steps_of(make_mixed(num_workers=2 if stop == 20 else 0), 60 - stop, cursor, stop)
        assert [contents(step) for step in resumed] == [contents(step) for step in unbroken[stop:]]
        assert [step.cursor for step in resumed] == [step.cursor for step in unbroken[stop:]]
        assert [step.source_tokens for step in resumed] == [step.source_tokens for step in unbroken[stop:]]


def test_steps_count_the_tokens_of_each_source(make_mixed):
    tokens = Counter()
    for step in steps_of(make_mixed(), 80):
        (micro,) = step.micro_batches
        specials = 2 * micro.batch.num_sequences
        assert sum(step.source_tokens.values()) == micro.batch.num_tokens - specials
        tokens.update(step.source_tokens)
    assert tokens["long"] / tokens.total() == pytest.approx(0.6, abs=0.05)


def test_the_last_step_is_marked_and_nothing_follows(make_mixed):
    import attrs

    data = make_mixed(attrs.evolve(MIXTURE, when_exhausted="stop"), gradient_accumulation_steps=2)
    found = steps_of(data, 10_000)
    assert [step.last for step in found] == [False] * (len(found) - 1) + [True]
    with pytest.raises(UserError, match="nothing is left to train on"):
        steps_of(data, 1, found[-1].cursor, len(found))


def test_report_tells_sources_apart(make_mixed):
    report = make_mixed().report
    assert [source.name for source in report.sources] == ["long", "short"]
    assert report.documents == sum(source.documents for source in report.sources)
    assert report.documents + report.empty + report.sources[0].too_short == 150
    assert "source long: 60.00% of the tokens" in "\n".join(report.lines())


def test_evaluation_keeps_sources_apart_and_takes_turns(make_data, mixed_rows, tokenizer):
    import attrs

    documents = documents_of(mixed_rows, tokenizer, mixture=MIXTURE)
    whole = attrs.evolve(make_data([5], evaluation=True), documents=documents, sources=documents.sizes)
    names = [whole.source_of(number) for number in range(len(whole))]
    assert set(names) == {"long", "short"}
    assert set(names[: len(names) // 3]) == {"long", "short"}, "the first batches are not of one source"
    found = Counter(piece for _, pieces in whole._batches for piece in pieces.to_tuples())
    assert max(found.values()) == 1
    assert {document for document, _, _ in found} == set(np.flatnonzero(documents.lengths))
    for number, (_, pieces) in enumerate(whole._batches):
        assert {"long" if document < 60 else "short" for document in pieces.document} == {names[number]}


def test_sources_are_tokenized_apart(mixed_rows, tokenizer, tmp_path):
    documents = documents_of(mixed_rows, tokenizer, mixture=MIXTURE)
    plain = documents_of(mixed_rows.remove_columns([SOURCE_COLUMN]), tokenizer)
    for number in (0, 1, 59, 60, 149):
        length = int(plain.lengths[number])
        assert documents.lengths[number] == length
        assert documents.ids(number, 0, length).tolist() == plain.ids(number, 0, length).tolist()
    assert len(list((tmp_path / "cache" / "tokens").iterdir())) >= 3


def test_rows_that_are_no_mixture_are_refused(mixed_rows, tokenizer):
    keys, collator_keys = DatasetKeys(max_seq_length=16), CollatorKeys()
    with pytest.raises(UserError, match=r"no method mixture\(\)"):
        corpus_of(mixed_rows, tokenizer, keys, collator_keys)
    with pytest.raises(UserError, match="rows with a column mixture_source"):
        corpus_of(mixed_rows.remove_columns([SOURCE_COLUMN]), tokenizer, keys, collator_keys, MIXTURE)
    for order in (range(149, -1, -1), [0, 100, 1]):
        with pytest.raises(UserError, match="source after source"):
            corpus_of(mixed_rows.select(order), tokenizer, keys, collator_keys, MIXTURE)
    one = Mixture(sources=(MixtureSource(name="only"),))
    with pytest.raises(UserError, match="from 0 to 0"):
        corpus_of(mixed_rows, tokenizer, keys, collator_keys, one)


def test_the_source_column_stays_beside_the_text(mixed_rows):
    rows = mixed_rows.rename_column("text", "body").add_column("more", [0] * 150)
    assert prepare_columns(rows, None, label="x").column_names == ["text", SOURCE_COLUMN]


def test_a_mixture_that_contradicts_itself():
    with pytest.raises(ValueError, match="its own name"):
        Mixture(sources=(MixtureSource(name="a"), MixtureSource(name="a")))
    with pytest.raises(ValueError, match="or none has"):
        Mixture(sources=(MixtureSource(name="a", weight=1.0), MixtureSource(name="b")))
