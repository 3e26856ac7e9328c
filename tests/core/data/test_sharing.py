"""Streams shared out by file: no file is read by two ranks, every row comes once an epoch, places are told apart."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import datasets
import pytest
from attrs import evolve

from neobert.data.cursor import Cursor
from neobert.data.sharing import Share, join_places, own_place, share_out
from neobert.errors import UserError
from neobert.served import DatasetKeys

BY_FILE = DatasetKeys(shard_streams_by="file", max_seq_length=16)
FILES = {f"file{number}": 7 + 3 * number for number in range(5)}
"""Rows of each."""


def generate(files, opened):
    for file in files:
        opened[0].append(file)
        for row in range(FILES[file]):
            yield {"text": f"w{list(FILES).index(file)} w{row}"}


def stream(opened, files=FILES):
    # ``opened`` is wrapped: a list among the arguments would be shared out itself
    features = datasets.Features({"text": datasets.Value("string")})
    arguments = {"files": list(files), "opened": (opened,)}
    return datasets.IterableDataset.from_generator(generate, features=features, gen_kwargs=arguments)


def build(make_data, rank, ranks, opened=None, **wanted):
    opened = [] if opened is None else opened
    rows, share = share_out(stream(opened), BY_FILE, rank, ranks)
    data = make_data(
        [], rows=rows, rank=rank, world_size=ranks, packing_window=10, per_device_train_batch_size=2, **wanted
    )
    return evolve(data, share=share)


def steps(data, count, cursor=None, step=0):
    found = list(islice(data.steps(cursor or data.start(), step), count))
    data.close()
    return found


def texts(found):
    """The rows in batches, each as its two words' ids."""
    rows = []
    for step in found:
        for micro in step.micro_batches:
            ids, bounds = micro.batch.input_ids.clone(), micro.batch.layout.cu_seqlens.tolist()
            ids[micro.batch.fields["masked_positions"]] = micro.batch.fields["labels"]
            content = range(micro.batch.num_sequences)
            rows += [tuple(ids[bounds[n] + 1 : bounds[n + 1] - 1].tolist()) for n in content]
    return rows


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_no_file_is_read_by_two_ranks_and_every_row_comes_once_an_epoch(make_data, ranks):
    everywhere, seen = [], Counter()
    for rank in range(ranks):
        opened = []
        found = steps(build(make_data, rank, ranks, opened, pack_sequences=False), 40)
        everywhere.append(set(opened))
        rows = texts(found)
        own = sum(FILES[file] for file in set(opened))
        assert len(set(rows)) == own
        for epoch in range(len(rows) // own):
            assert len(set(rows[epoch * own : (epoch + 1) * own])) == own
        seen.update(set(rows))
    assert sorted(file for files in everywhere for file in files) == sorted(FILES)
    assert set(seen.values()) == {1}
    assert len(seen) == sum(FILES.values())


def test_each_rank_resumes_at_its_own_place(make_data):
    unbroken = [steps(build(make_data, rank, 2), 30) for rank in (0, 1)]
    for stop in (1, 7, 13, 14):
        joined = join_places([run[stop - 1].cursor for run in unbroken])
        cursor = Cursor.from_json(joined.to_json())
        assert cursor == joined
        for rank in (0, 1):
            resumed = steps(build(make_data, rank, 2), 10, cursor, stop)
            expected = unbroken[rank][stop : stop + 10]
            assert texts(resumed) == texts(expected)
            assert [step.cursor for step in resumed] == [step.cursor for step in expected]
            assert [m.seed for s in resumed for m in s.micro_batches] == [
                m.seed for s in expected for m in s.micro_batches
            ]


def test_micro_batches_of_ranks_have_seeds_of_their_own(make_data):
    seeds = [
        micro.seed
        for rank in (0, 1)
        for step in steps(build(make_data, rank, 2, gradient_accumulation_steps=2), 3)
        for micro in step.micro_batches
    ]
    assert len(set(seeds)) == len(seeds) == 12


def test_one_rank_has_the_order_that_it_has_by_row(make_data):
    by_row = make_data([], rows=stream([]), packing_window=10, per_device_train_batch_size=2)
    assert texts(steps(build(make_data, 0, 1), 20)) == texts(steps(by_row, 20))


@pytest.mark.parametrize(("rank", "ranks"), [(0, 1), (0, 4), (3, 4)])
def test_another_number_of_ranks_is_refused_with_the_way_on(make_data, rank, ranks):
    places = join_places([steps(build(make_data, one, 2), 3)[-1].cursor for one in (0, 1)])
    with pytest.raises(UserError, match=r"by file, 5 files over 2 ranks.*\n.*go on with 2 ranks") as raised:
        build(make_data, rank, ranks).steps(places, 3)
    assert f"over {ranks} rank" in str(raised.value)


def test_by_row_and_by_file_are_not_taken_for_each_other(make_data):
    by_row = make_data([], rows=stream([]), packing_window=10)
    with pytest.raises(UserError, match=r"was read by file.*would read it by row"):
        by_row.steps(steps(build(make_data, 0, 1), 3)[-1].cursor, 3)
    with pytest.raises(UserError, match=r'was read by row(.|\n)*shard_streams_by = "row" again'):
        build(make_data, 0, 1).steps(steps(by_row, 3)[-1].cursor, 3)


def test_other_files_are_noticed():
    share = Share(0, 2, 5)
    cursor = Cursor(window=2, share=(0, 2, 5), content="one")
    assert own_place(cursor, share, "one") == Cursor(window=2)
    with pytest.raises(UserError, match="files of rank 0 do not begin as they did"):
        own_place(cursor, share, "two")


def test_fewer_files_than_ranks_are_read_by_row(caplog):
    rows = stream([])
    assert share_out(rows, BY_FILE, 0, 6) == (rows, None)
    assert "5 files are too few for 6 ranks" in caplog.text


def test_rows_that_are_no_stream_are_refused():
    with pytest.raises(UserError, match="no stream of one dataset"):
        share_out(datasets.Dataset.from_dict({"text": ["a"]}), BY_FILE, 0, 2)


def test_cursors_that_do_not_belong_together_are_not_joined():
    row = Cursor(window=1)
    assert join_places([row, row]) is row
    with pytest.raises(ValueError, match="not the cursors of 2 ranks"):
        join_places([row, Cursor(window=2)])
