"""Mixtures with streams: the same promises as with stored documents, and resumed to the bit wherever it stops."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from itertools import islice, pairwise

import attrs
import datasets
import numpy as np
import pytest

from neobert import Mixture, MixtureSource, UserError
from neobert.data.build import corpus_of
from neobert.data.cursor import Cursor
from neobert.data.mixed_rows import mixed_stream, parts_of
from neobert.mixture import SOURCE_COLUMN

RNG = np.random.default_rng(8)
LENGTHS = {"web": RNG.integers(0, 30, 90).tolist(), "books": RNG.integers(1, 9, 70).tolist()}
MIXTURE = Mixture(
    sources=(MixtureSource(name="web", weight=0.6, min_length=3), MixtureSource(name="books", weight=0.4))
)
BODY = 14


@pytest.fixture
def make_mixed(make_data, make_rows, tokenizer):
    """`TrainingData` of a mixture of the sources above; those named in ``streams`` are streams."""

    def make(streams=("web", "books"), mixture=MIXTURE, lengths=LENGTHS, **wanted):
        parts = {name: make_rows(found, seed=number) for number, (name, found) in enumerate(lengths.items())}
        parts |= {name: parts[name].to_iterable_dataset(num_shards=2) for name in streams}
        data = make_data([5], **{"packing_window": 20} | wanted)
        corpus = corpus_of(mixed_stream(parts), tokenizer, data.dataset_keys, data.collator_keys, mixture)
        return attrs.evolve(data, corpus=corpus)

    return make


def steps_of(data, count, cursor=None, step=0):
    found = list(islice(data.steps(cursor or data.start(), step), count))
    data.close()
    return found


def contents(steps):
    """Ids, masks, boundaries, seeds, cursors and counts."""
    return [
        (
            step.cursor,
            step.source_tokens,
            step.left_out,
            micro.seed,
            micro.batch.layout.lengths,
            micro.batch.input_ids.tolist(),
            {name: tensor.tolist() for name, tensor in micro.batch.fields.items()},
        )
        for step in steps
        for micro in step.micro_batches
    ]


def epochs(step, source):
    return step.cursor.marks[source][0] if step.cursor.marks else 0


@pytest.mark.parametrize("streams", [("web",), ("books",), ("web", "books")])
@pytest.mark.parametrize("packed", [True, False])
def test_resumed_anywhere_it_is_the_unbroken_run(make_mixed, streams, packed):
    keys = {"streams": streams, "pack_sequences": packed}
    unbroken = steps_of(make_mixed(**keys), 75 if packed else 150)
    assert epochs(unbroken[-1], 0) >= 1
    assert epochs(unbroken[-1], 1) >= 2
    edges = {
        step.step + after
        for step, last in pairwise(unbroken)
        for after in (0, 1, 2)
        if step.cursor.marks != last.cursor.marks
        and any(epochs(step, source) != epochs(last, source) for source in (0, 1))
    }
    for stop in sorted({1, 10, *(edge for edge in edges if edge + 8 <= len(unbroken))} - {0}):
        cursor = Cursor.from_json(unbroken[stop - 1].cursor.to_json())
        assert contents(steps_of(make_mixed(**keys), 8, cursor, stop)) == contents(unbroken[stop : stop + 8])


def test_the_source_of_each_sequence_is_known(make_mixed):
    data = make_mixed()
    for step in steps_of(data, 5):
        (micro,) = step.micro_batches
        tokens = Counter()
        for name, length in zip(data.corpus.source_names(micro.pieces), micro.pieces.lengths.tolist(), strict=True):
            tokens[name] += length
        assert tokens == step.source_tokens


@pytest.mark.parametrize(
    ("streams", "workers", "world_size"),
    [(("web",), 0, 2), (("web", "books"), 0, 2), (("web",), 3, 1), (("web", "books"), 3, 2)],
)
def test_three_interruptions_change_nothing_on_any_rank(make_mixed, streams, workers, world_size):
    alone = steps_of(make_mixed(streams, gradient_accumulation_steps=world_size), 45)
    stops = [0, 9, 22, 36, 45]  # inside the first pass, in the second, and past it
    for rank in range(world_size):
        found, cursor = [], None
        for stop, following in pairwise(stops):
            data = make_mixed(streams, world_size=world_size, rank=rank, num_workers=workers if stop == 22 else 0)
            found += steps_of(data, following - stop, cursor, stop)
            cursor = Cursor.from_json(found[-1].cursor.to_json())
        own = [micro for place, micro in enumerate(contents(alone)) if place % world_size == rank]
        assert contents(found) == own


def walk(corpus, windows, seed=3):
    source = corpus.source(seed)
    source.begin(Cursor())
    found = [piece for window in range(windows) for piece in source.window(0, window).to_tuples()]
    source.close()
    return found


@pytest.mark.parametrize("streams", [("web",), ("web", "books")])
def test_shares_hold_at_every_moment_and_each_pass_has_every_row_once(make_mixed, streams):
    corpus = make_mixed(streams).corpus
    found, shares = walk(corpus, 60), np.array([0.6, 0.4])
    tokens = np.zeros(2)
    for document, start, stop in found:
        tokens[document % 2] += stop - start
        assert np.abs(tokens - shares * tokens.sum()).max() <= 1.5 * BODY + 1
    for number, (name, lengths) in enumerate(LENGTHS.items()):
        least = 3 if name == "web" else 1
        rows = {row: length for row, length in enumerate(lengths) if length >= least}
        expected = Counter((row, start, min(start + BODY, n)) for row, n in rows.items() for start in range(0, n, BODY))
        own = [(document // 2, start, stop) for document, start, stop in found if document % 2 == number]
        passes = [Counter(own[first : first + len(expected)]) for first in range(0, len(own), len(expected))]
        assert len(passes) > 2
        assert all(one == expected for one in passes[:-1])


def test_a_stream_and_stored_rows_give_the_same_tokens(make_mixed, make_data):
    data = make_mixed(("web",))
    source = data.corpus.source(3)
    source.begin(Cursor())
    pieces = source.window(0, 0)
    stored = {number: make_data(lengths).corpus for number, lengths in enumerate(LENGTHS.values())}
    seen = source.ids(pieces)
    source.close()
    parts = data.corpus.parts
    assert set(pieces.document % 2) == {0, 1}
    for (document, start, stop), ids in zip(pieces.to_tuples(), seen, strict=True):
        row, number = divmod(document, 2)
        if number == 0:
            assert len(ids) == stop - start
            assert ids.tolist() == stored[0].documents.ids(row, start, stop).tolist()
        else:
            assert ids.tolist() == parts["books"].ids(row, start, stop).tolist()


def test_stop_ends_where_the_first_stream_does(make_mixed):
    stopping = attrs.evolve(MIXTURE, when_exhausted="stop")
    for streams in (("web",), ("books",), ("web", "books")):
        found = steps_of(make_mixed(streams, stopping), 1000)
        assert [step.last for step in found] == [False] * (len(found) - 1) + [True]
        tokens = sum((Counter(step.source_tokens) for step in found), Counter())
        assert tokens["books"] == pytest.approx(sum(LENGTHS["books"]), abs=5 * BODY), "all that books has"
        assert tokens["books"] / tokens.total() == pytest.approx(0.4, abs=0.06)
        for stop in (len(found) - 1, len(found) - 3):
            again = steps_of(make_mixed(streams, stopping), 1000, found[stop - 1].cursor, stop)
            assert contents(again) == contents(found[stop:])
        with pytest.raises(UserError, match="nothing is left to train on"):
            steps_of(make_mixed(streams, stopping), 1, found[-1].cursor, len(found))


def test_rows_left_out_are_counted_once_a_pass(make_mixed):
    found = steps_of(make_mixed(("web",)), 75)
    left_out = sum((Counter(step.left_out) for step in found), Counter())
    passes = epochs(found[-1], 0)
    short = sum(0 < length < 3 for length in LENGTHS["web"])
    empty = LENGTHS["web"].count(0)
    assert passes * short <= left_out["filtered_rows"] <= (passes + 1) * short
    assert passes * empty <= left_out["empty_rows"] <= (passes + 1) * empty


def test_a_stream_says_what_is_known_of_it(make_mixed):
    report = make_mixed(("web",)).report
    web, books = report.sources
    first = [length for length in LENGTHS["web"][:20] if length >= 3]
    assert (web.streaming, web.documents, web.tokens) == (True, len(first), sum(first))
    assert (books.streaming, books.documents, books.tokens) == (False, 70, sum(LENGTHS["books"]))
    said = "\n".join(report.lines())
    assert "source web: 60.00% of the tokens trained on; in its first window" in said


def test_what_cannot_be_mixed_is_refused(make_mixed, make_data, make_rows, tokenizer):
    with pytest.raises(UserError, match="needs a weight for each source"):
        make_mixed(mixture=Mixture(sources=(MixtureSource(name="web"), MixtureSource(name="books"))))
    with pytest.raises(UserError, match=r"source 'web' has nothing to train on: in the whole stream"):
        steps_of(
            make_mixed(
                mixture=attrs.evolve(
                    MIXTURE, sources=(MixtureSource(name="web", weight=1.0, min_length=99), MIXTURE.sources[1])
                )
            ),
            3,
        )
    data = make_data([5])
    rows = mixed_stream({"web": make_rows([3]), "books": make_rows([4])}).select_columns(["text", SOURCE_COLUMN])
    assert parts_of(rows) is None
    with pytest.raises(UserError, match="mixed_stream made"):
        corpus_of(rows, tokenizer, data.dataset_keys, data.collator_keys, MIXTURE)


def test_whoever_looks_at_the_rows_sees_all_sources_by_turns(make_rows):
    parts = {"a": make_rows([1, 2, 3]), "b": make_rows([4]).to_iterable_dataset()}
    rows = mixed_stream(parts)
    seen = [(row[SOURCE_COLUMN], len(row["text"].split())) for row in rows]
    assert seen == [(0, 1), (1, 4), (0, 2), (0, 3)]
    assert parts_of(rows) == parts


def test_memory_stays_flat(make_mixed, tokenizer, make_data):
    def endless():
        while True:
            yield {"text": "w1 w2 w3 w4 w5 w6 w7 w8"}

    streams = {
        name: datasets.IterableDataset.from_generator(
            endless, features=datasets.Features({"text": datasets.Value("string")})
        )
        for name in ("web", "books")
    }
    data = make_data([5], packing_window=200)
    corpus = corpus_of(mixed_stream(streams), tokenizer, data.dataset_keys, data.collator_keys, MIXTURE)
    steps = attrs.evolve(data, corpus=corpus).pieces(Cursor())
    tracemalloc.start()
    for _ in range(300):
        next(steps)
    early = tracemalloc.get_traced_memory()[0]
    for _ in range(1200):
        next(steps)
    assert tracemalloc.get_traced_memory()[0] < 1.5 * early
    tracemalloc.stop()
    steps.close()
