"""Token ids from disk are used as they are, and checked against the tokenizer."""

from __future__ import annotations

import pickle

import datasets
import numpy as np
import pytest

from neobert.data.pretokenized import ArrowDocuments, pretokenized
from neobert.errors import UserError

ROWS = [[5, 6, 7], [], [8], [9, 10] * 20]


def dataset(rows=ROWS, kind=None):
    feature = kind or datasets.List(datasets.Value("int32"))
    return datasets.Dataset.from_dict({"input_ids": rows}, features=datasets.Features({"input_ids": feature}))


def all_ids(documents):
    return [documents.ids(i, 0, int(length)).tolist() for i, length in enumerate(documents.lengths)]


def test_rows_are_documents(tokenizer):
    documents = pretokenized(dataset(), tokenizer, label="train")
    assert all_ids(documents) == ROWS
    assert documents.lengths.dtype == np.int32
    assert documents.ids(3, 2, 5).tolist() == [9, 10, 9]


@pytest.mark.parametrize("kind", [datasets.LargeList(datasets.Value("int64")), datasets.List(datasets.Value("uint16"))])
def test_every_list_type(tokenizer, kind):
    assert all_ids(pretokenized(dataset(kind=kind), tokenizer, label="train")) == ROWS


def test_lists_of_a_fixed_size(tokenizer):
    rows = dataset([[5, 6], [7, 8], [9, 10]], datasets.List(datasets.Value("int32"), length=2))
    assert all_ids(pretokenized(rows, tokenizer, label="train")) == [[5, 6], [7, 8], [9, 10]]
    assert all_ids(pretokenized(rows.select([1, 2]), tokenizer, label="train")) == [[7, 8], [9, 10]]


def test_selections_chunks_and_pickles_keep_rows_and_fingerprint(tokenizer):
    plain = pretokenized(dataset(), tokenizer, label="train")
    for same in (
        dataset(ROWS[::-1]).select([3, 2, 1, 0]),
        datasets.concatenate_datasets([dataset(ROWS[:1]), dataset(ROWS[1:])]),
        dataset([[11], *ROWS]).select(range(1, 5)),
    ):
        documents = pickle.loads(pickle.dumps(pretokenized(same, tokenizer, label="train")))  # noqa: S301
        assert all_ids(documents) == ROWS
        assert documents.fingerprint == plain.fingerprint
    assert pretokenized(dataset([[5, 6], [7], [8], ROWS[3]]), tokenizer, label="x").fingerprint != plain.fingerprint


def test_special_tokens_around_every_row_are_left_out(tokenizer):
    around = [[2, *row, 3] for row in ROWS]
    documents = pretokenized(dataset(around), tokenizer, label="train")
    assert all_ids(documents) == ROWS
    assert documents.ids(3, 2, 5).tolist() == [9, 10, 9]


def test_special_tokens_around_some_rows_are_refused(tokenizer):
    with pytest.raises(UserError, match=r"1 of 2 rows of train .* row 1 has not"):
        pretokenized(dataset([[2, 5, 3], [5, 6]]), tokenizer, label="train")


def test_rows_that_are_no_ids_are_named_with_their_file(tokenizer, tmp_path):
    ids = [[5, 6]] * 12_000 + [[7, None, 8], [None]]
    datasets.Dataset.from_dict({"input_ids": ids}).save_to_disk(tmp_path / "ids")
    rows = datasets.load_from_disk(tmp_path / "ids")
    with pytest.raises(UserError, match=r"row 12000 of train has an empty value(.|\n)*it is in .*\.arrow"):
        pretokenized(rows, tokenizer, label="train")


def test_rows_on_disk_are_mapped_and_not_copied(tokenizer, tmp_path):
    ids = [list(range(5, 5 + n % 7)) for n in range(5000)]
    datasets.Dataset.from_dict({"input_ids": ids}).save_to_disk(tmp_path / "ids", num_shards=3)
    rows = datasets.load_from_disk(tmp_path / "ids")
    for chosen in (rows, rows.select(range(1700, 3500))):
        documents = ArrowDocuments(chosen)
        chunks = documents._chunks
        assert not any(array.flags.owndata or array.flags.writeable for chunk in chunks for array in chunk)
        lengths = documents.lengths.tolist()
        assert [documents.ids(n, 0, length).tolist() for n, length in enumerate(lengths)] == chosen["input_ids"][:]


@pytest.mark.parametrize("bad", [105, -1])
def test_ids_outside_the_vocabulary_are_named_with_their_row(tokenizer, bad):
    with pytest.raises(UserError, match=rf"row 2 of train has the id {bad}, .* 0 to 104"):
        pretokenized(dataset([[5], [6], [7, bad]]), tokenizer, label="train")
