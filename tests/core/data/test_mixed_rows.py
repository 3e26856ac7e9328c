"""A mixture's rows as training data: the same steps for any ranks, workers and resuming; reports, and evaluation."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import attrs
import datasets
import numpy as np
import pytest

from neobert import Mixture, MixtureSource, UserError
from neobert.data.build import corpus_of, documents_of
from neobert.data.columns import prepare_columns
from neobert.data.cursor import Cursor
from neobert.mixture import SOURCE_COLUMN
from neobert.served import CollatorKeys, DatasetKeys

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
    data = make_mixed()
    for step in steps_of(data, 80):
        (micro,) = step.micro_batches
        names, own = data.corpus.source_names(micro.pieces), Counter()
        for name, length in zip(names, micro.pieces.lengths.tolist(), strict=True):
            own[name] += length
        assert own == {name: count for name, count in step.source_tokens.items() if count}
        specials = 2 * micro.batch.num_sequences
        assert sum(step.source_tokens.values()) == micro.batch.num_tokens - specials
        tokens.update(step.source_tokens)
    assert tokens["long"] / tokens.total() == pytest.approx(0.6, abs=0.05)


def test_the_last_step_is_marked_and_nothing_follows(make_mixed):
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
