"""Streams: every row once an epoch, the same for any split, resumed to the bit, and loud when they fail."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

import datasets
import numpy as np
import pytest

from neobert.damage import DAMAGE_COLUMN
from neobert.data.cursor import Cursor
from neobert.data.stream import TokenStream
from neobert.errors import UserError

LENGTHS = np.random.default_rng(4).integers(0, 40, 90).tolist()


def contents(steps):
    return [
        (step.step, step.epoch, step.cursor, micro.seed, micro.batch.layout.lengths, micro.batch.input_ids.tolist())
        for step in steps
        for micro in step.micro_batches
    ]


@pytest.fixture
def make_stream(make_rows, make_data):
    def make(lengths=LENGTHS, shards=3, **wanted):
        rows = make_rows(lengths).to_iterable_dataset(num_shards=shards)
        return make_data(lengths, rows=rows, **{"packing_window": 20} | wanted)

    return make


def first_steps(data, count, cursor=None, step=0):
    found = list(islice(data.steps(cursor or data.start(), step), count))
    data.close()
    return found


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_anywhere_in_any_epoch_it_is_the_unbroken_run(make_stream, workers):
    unbroken = first_steps(make_stream(), 90)
    assert unbroken[-1].epoch >= 2
    edges = [step.step for step, after in pairwise(unbroken) if step.epoch != after.epoch]
    stops = {1, 13, *edges, *(edge + 1 for edge in edges), 47} if workers == 0 else {edges[0] + 1}
    for stop in sorted(stops):
        cursor = Cursor.from_json(unbroken[stop - 1].cursor.to_json())
        resumed = first_steps(make_stream(num_workers=workers), 12, cursor, stop)
        assert contents(resumed) == contents(unbroken[stop : stop + 12])


def test_every_row_once_an_epoch(make_stream):
    data = make_stream(pack_sequences=True)
    seen = Counter()
    for pieces, after in data.pieces(data.start()):
        seen.update(pieces.to_tuples())
        if after.epoch >= 2 and after.window == after.position == 0:
            break
    seen.update(after.carry)
    expected = {(row, start, min(start + 14, n)) for row, n in enumerate(LENGTHS) for start in range(0, n, 14)}
    assert seen == Counter(dict.fromkeys(expected, after.epoch))


def test_the_same_tokens_as_from_stored_rows(make_stream, make_data):
    stream, stored = make_stream(), make_data(LENGTHS)
    window = stream.corpus.stream.first
    for row in range(20):
        assert window.row(row).tolist() == stored.corpus.documents.ids(row, 0, LENGTHS[row]).tolist()


@pytest.mark.parametrize("shards", [1, 5])
def test_the_order_does_not_depend_on_ranks_or_shards(make_stream, shards):
    alone = first_steps(make_stream(shards=1, gradient_accumulation_steps=2), 8)
    ranks = [first_steps(make_stream(shards=shards, world_size=2, rank=rank), 8) for rank in (0, 1)]
    for number, step in enumerate(alone):
        shared = [rank[number].micro_batches[0].batch.input_ids.tolist() for rank in ranks]
        assert shared == [micro.batch.input_ids.tolist() for micro in step.micro_batches]


def test_a_window_is_shuffled_and_each_epoch_in_another_way(make_stream):
    source = make_stream().corpus.source(7)
    orders = [source.window(epoch, window).document.tolist() for epoch in (0, 1) for window in (0, 1)]
    source.close()
    for first, second in ((orders[0], orders[2]), (orders[1], orders[3])):
        assert sorted(first) == sorted(second)
        assert first != second != sorted(second)
    assert set(orders[0]) <= set(range(20))
    assert set(orders[1]) <= set(range(20, 40))


def test_token_ids_stream_too(make_data, make_rows, tokenizer):
    texts = make_rows(LENGTHS)
    with_special = texts.map(lambda row: {"input_ids": tokenizer(row["text"])["input_ids"]}, remove_columns="text")
    ids = make_data(LENGTHS, rows=with_special.to_iterable_dataset(), packing_window=20)
    text = make_data(LENGTHS, rows=texts.to_iterable_dataset(), packing_window=20)
    assert contents(first_steps(ids, 10)) == contents(first_steps(text, 10))


def test_an_empty_value_among_ids_is_named(make_data):
    rows = datasets.Dataset.from_dict({"input_ids": [[5, 6]] * 3 + [[7, None]]}).to_iterable_dataset()
    with pytest.raises(UserError, match="row 3 of the stream train has an empty value among its ids"):
        make_data([], rows=rows)


def test_the_report_says_that_it_is_of_the_first_window(make_stream):
    report = make_stream().report
    assert report.streaming
    assert report.documents + report.empty == 20
    assert "first window of the stream" in report.lines()[0]


def test_fingerprint_is_of_the_first_rows(make_stream):
    assert make_stream().fingerprint == make_stream(shards=1).fingerprint
    assert make_stream().fingerprint != make_stream(LENGTHS[1:]).fingerprint


@pytest.mark.parametrize("failing", [1200, 1201, 1299])
def test_a_stream_that_raises_names_the_row_once_all_windows_before_it_are_trained_on(make_data, failing):
    def rows():
        for row in range(failing):
            yield {"text": f"w{row % 100} w2"}
        raise OSError("the cable was cut")

    stream = datasets.IterableDataset.from_generator(rows)
    data = make_data([], rows=stream, packing_window=100)
    steps = data.steps(data.start(), 0)
    seen = []
    with pytest.raises(UserError, match=rf"failed at row {failing}: OSError: the cable was cut"):
        seen.extend(steps)
    data.close()
    trained = sum(step.micro_batches[0].batch.num_sequences for step in seen)
    assert trained + len(seen[-1].cursor.carry) == 1200
    assert seen[-1].cursor.window == 12


DAMAGED = (0, 1, 19, 20, 39, 60, 61, 62, 89)
"""At the edges of windows of 20 rows, and of the epoch."""


@pytest.fixture
def make_damaged(make_rows, make_data):
    def make(damaged=DAMAGED, lengths=LENGTHS, **wanted):
        rows = make_rows(lengths)
        texts = [None if row in damaged else text for row, text in enumerate(rows["text"])]
        faults = [f"a.jsonl: row {row + 1} is not JSON" if row in damaged else None for row in range(len(rows))]
        rows = datasets.Dataset.from_dict({"text": texts, DAMAGE_COLUMN: faults})
        return make_data(lengths, rows=rows.to_iterable_dataset(num_shards=3), **{"packing_window": 20} | wanted)

    return make


def test_damaged_rows_are_left_out_and_counted_and_a_resumed_run_is_the_unbroken_one(make_damaged):
    unbroken = first_steps(make_damaged(), 80)
    edges = [step.step for step, after in pairwise(unbroken) if step.epoch != after.epoch]
    assert len(edges) >= 2
    for stop in sorted({1, 5, *edges, *(edge + 1 for edge in edges), 43}):
        cursor = Cursor.from_json(unbroken[stop - 1].cursor.to_json())
        resumed = first_steps(make_damaged(), 15, cursor, stop)
        assert contents(resumed) == contents(unbroken[stop : stop + 15])
        assert [step.left_out for step in resumed] == [step.left_out for step in unbroken[stop : stop + 15]]


def test_the_counts_of_an_epoch_are_those_of_its_rows(make_damaged):
    data = make_damaged()
    counted = Counter()
    for step in first_steps(data, 60):
        if step.epoch == 0:
            counted.update(step.left_out)
            last = step.cursor
    assert last.epoch == 1
    kept = [0 if row in DAMAGED else n for row, n in enumerate(LENGTHS)]
    assert counted["damaged_rows"] == len(DAMAGED)
    assert counted["empty_rows"] == sum(n == 0 for row, n in enumerate(LENGTHS) if row not in DAMAGED)
    assert counted["split_documents"] == sum(n > 14 for n in kept)


def test_a_damaged_row_is_as_an_empty_one_to_every_other(make_damaged, make_stream):
    lengths = [0 if row in DAMAGED else n for row, n in enumerate(LENGTHS)]
    texts = make_damaged(lengths=lengths)
    assert contents(first_steps(texts, 20)) == contents(first_steps(make_stream(lengths), 20))


def test_the_first_damaged_rows_are_named_once_and_the_rest_counted(make_damaged, caplog):
    first_steps(make_damaged(), 60)
    said = [record.getMessage() for record in caplog.records]
    named = [f"skipped: a.jsonl: row {row + 1} is not JSON (row {row} of the stream train)" for row in DAMAGED[:5]]
    assert said == [*named, "more rows of the stream train are damaged; from here on they are only counted"]


def test_a_damaged_row_stops_the_run_where_that_is_asked_for(make_damaged):
    data = make_damaged(damaged=(45,), on_damaged_row="stop")
    steps = data.steps(data.start(), 0)
    with pytest.raises(UserError, match=r"a\.jsonl: row 46 is not JSON \(row 45 of the stream train\)"):
        assert all(step.cursor.window <= 2 for step in steps)


def test_too_many_damaged_rows_are_no_data(make_damaged):
    assert first_steps(make_damaged(damaged=range(20, 30)), 20)
    with pytest.raises(UserError, match=r"11 of 20 rows of the stream train are damaged, more than half"):
        first_steps(make_damaged(damaged=range(20, 31)), 20)


def test_an_empty_stream(tokenizer, make_rows):
    with pytest.raises(UserError, match="has no row"):
        TokenStream(make_rows([1]).to_iterable_dataset().skip(1), tokenizer, 10)


def test_only_empty_rows_are_an_error_not_a_loop(make_stream):
    with pytest.raises(UserError, match="no sequence to train on"):
        first_steps(make_stream([0] * 50, shards=1), 1)


def test_a_stream_that_became_shorter_is_another_stream(make_stream):
    cursor = first_steps(make_stream(), 24)[-1].cursor
    assert cursor.window >= 2
    with pytest.raises(UserError, match="it is another stream"):
        first_steps(make_stream(LENGTHS[:30], shards=1), 1, cursor, 24)
