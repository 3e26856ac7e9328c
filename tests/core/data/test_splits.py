"""Which rows are trained on and evaluated on, which column, and what is said when that is not clear."""

from __future__ import annotations

import datasets
import pytest

from neobert.data.splits import STREAM_EVAL_SAMPLES, select_splits
from neobert.errors import UserError
from neobert.served import DatasetKeys


def rows(count, start=0, column="text", **more):
    return datasets.Dataset.from_dict({column: [f"t{start + row}" for row in range(count)], **more})


def select(built, **keys):
    return select_splits(built, DatasetKeys(**keys), seed=1)


def texts(split):
    return list(split["text"])


def test_no_evaluation_without_asking():
    splits = select({"train": rows(5)})
    assert (texts(splits.train), splits.eval) == ([f"t{i}" for i in range(5)], None)
    assert splits.as_mapping().keys() == {"train"}
    assert "none" in splits.notes[0]


@pytest.mark.parametrize("name", ["validation", "eval", "test", "dev"])
def test_an_evaluation_split_is_found(name):
    splits = select({"train": rows(5), name: rows(2, 100)}, eval_samples=None, validation_split=0.5)
    assert texts(splits.eval) == ["t100", "t101"]
    assert len(splits.train) == 5


def test_the_first_found_is_validation():
    built = {"train": rows(5), "test": rows(2, 100), "validation": rows(2, 200)}
    assert texts(select(built).eval) == ["t200", "t201"]
    assert texts(select(built, eval_split="test").eval) == ["t100", "t101"]
    assert texts(select(built, eval_split="test[1:]").eval) == ["t101"]


def test_several_splits_are_evaluated_on_one_after_another():
    built = {"train": rows(5), "one": rows(2, 100), "two": rows(3, 200)}
    splits = select(built, eval_split="one+two[1:]")
    assert texts(splits.eval) == ["t100", "t101", "t201", "t202"]
    assert splits.eval_sizes == {"one": 2, "two[1:]": 2}
    assert len(splits.train) == 5
    assert select(built, eval_split="one").eval_sizes == {}
    limited = select(built, eval_split="one+two", eval_samples=1)
    assert texts(limited.eval) == ["t100", "t200"]
    for wrong, why in (("one+one", "each once"), ("one+", "each once"), ("one+tow", "did you mean 'two'")):
        with pytest.raises(UserError, match=why):
            select(built, eval_split=wrong)


def test_eval_samples_limits_a_split_or_reserves_rows():
    assert texts(select({"train": rows(5), "eval": rows(9, 50)}, eval_samples=2).eval) == ["t50", "t51"]
    splits = select({"train": rows(5)}, eval_samples=2)
    assert (texts(splits.eval), texts(splits.train)) == (["t0", "t1"], ["t2", "t3", "t4"])


def test_validation_split_is_a_seeded_share():
    first, again = (select({"train": rows(100)}, validation_split=0.2) for _ in range(2))
    assert texts(first.eval) == texts(again.eval)
    assert len(first.eval) == 20
    assert sorted(texts(first.eval) + texts(first.train)) == sorted(f"t{i}" for i in range(100))
    assert texts(select_splits({"train": rows(100)}, DatasetKeys(validation_split=0.2), 2).eval) != texts(first.eval)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("train[:40%]", range(4)), ("train[2:4]", range(2, 4)), ("train[-3:]", range(7, 10))],
)
def test_slices_of_train(spec, expected):
    assert texts(select({"train": rows(10)}, train_split=spec).train) == [f"t{i}" for i in expected]


def test_train_and_evaluation_slices_of_one_split():
    splits = select({"all": rows(10)}, train_split="all[:80%]", eval_split="all[80%:]")
    assert (len(splits.train), texts(splits.eval)) == (8, ["t8", "t9"])
    assert "also trained on" in select({"all": rows(10)}, train_split="all", eval_split="all[80%:]").notes[0]


@pytest.mark.parametrize(
    ("built", "keys", "message"),
    [
        ({"training": 3}, {}, r"no such split; did you mean 'training'\?\nsplits: training"),
        ({"train": 3}, {"eval_split": "dev"}, "eval_split = 'dev': no such split"),
        ({"train": 3}, {"train_split": "train[9:]"}, "no row of the split's 3"),
        ({"train": 3}, {"train_split": "train[x]"}, "not a slice"),
        ({"train": 0}, {}, "'train' is empty"),
        ({"train": 3, "eval": 0}, {}, "'eval' is empty"),
        ({"train": 3}, {"eval_samples": 3}, "leaves nothing to train on"),
        ({"train": 3}, {"validation_split": 0.1}, "leaves no row to evaluate on"),
    ],
)
def test_what_cannot_be_split(built, keys, message):
    with pytest.raises(UserError, match=message):
        select({name: rows(count) for name, count in built.items()}, **keys)


def test_the_only_string_column_becomes_text():
    splits = select({"train": rows(3, column="body", number=[1, 2, 3])})
    assert splits.train.column_names == ["text"]


def test_text_among_several_string_columns():
    splits = select({"train": rows(3, title=["a", "b", "c"])})
    assert texts(splits.train) == ["t0", "t1", "t2"]
    assert texts(select({"train": rows(3, title=["a", "b", "c"])}, text_column="title").train) == [
        "a",
        "b",
        "c",
    ]


def test_token_ids_are_found_and_kept():
    built = {"train": rows(2, input_ids=[[1], [2]])}
    assert select(built).train.column_names == ["input_ids"]
    assert select(built, text_column="text").train.column_names == ["text"]


@pytest.mark.parametrize(
    ("columns", "keys", "message"),
    [
        ({"a": ["x"], "b": ["y"]}, {}, "several text columns: a, b"),
        ({"a": [1]}, {}, r"no text column\ncolumns: a \(int64\)"),
        ({"text": ["x"]}, {"text_column": "txt"}, "did you mean 'text'"),
        ({"a": [1], "text": ["x"]}, {"text_column": "a"}, "column 'a' .* is int64, expected text"),
        ({"input_ids": ["x"]}, {}, "is string, expected lists of token ids"),
        ({"text": [["x"]]}, {"text_column": "text"}, "is list of string, expected text"),
    ],
)
def test_columns_that_do_not_fit(columns, keys, message):
    with pytest.raises(UserError, match=message):
        select({"train": datasets.Dataset.from_dict(columns)}, **keys)


def test_text_to_train_on_and_ids_to_evaluate_on():
    with pytest.raises(UserError, match="both must be text"):
        select({"train": rows(2), "eval": datasets.Dataset.from_dict({"input_ids": [[1]]})})


def test_streams():
    stream = rows(2000).to_iterable_dataset()
    splits = select({"train": stream}, eval_samples=2)
    assert texts(splits.eval) == ["t0", "t1"]
    assert next(iter(splits.train)) == {"text": "t2"}
    limited = select({"train": stream, "validation": rows(2000, 5000).to_iterable_dataset()})
    assert len(limited.eval) == STREAM_EVAL_SAMPLES
    assert "eval_samples sets another number" in limited.notes[0]
    for keys in ({"train_split": "train[:9]"}, {"validation_split": 0.5}):
        with pytest.raises(UserError, match=r"set dataset\.eval_samples"):
            select({"train": stream}, **keys)
        stream = rows(5).to_iterable_dataset()


def test_a_stream_that_does_not_say_its_columns():
    stream = datasets.IterableDataset.from_generator(lambda: ({"body": f"t{i}", "n": i} for i in range(5)))
    assert stream.features is None
    splits = select({"train": stream}, eval_samples=2)
    assert [list(split) for split in (splits.eval, splits.train)] == [
        [{"text": "t0"}, {"text": "t1"}],
        [{"text": "t2"}, {"text": "t3"}, {"text": "t4"}],
    ]
    with pytest.raises(UserError, match="it has no row"):
        select({"train": datasets.IterableDataset.from_generator(lambda: iter(()))})


def test_rows_of_a_stream_that_is_shared_out_by_file_are_not_reserved():
    stream = rows(9).to_iterable_dataset()
    with pytest.raises(UserError, match="no rank reads all of it"):
        select({"train": stream}, eval_samples=2, shard_streams_by="file")
    assert select({"train": stream, "eval": rows(3, 50)}, eval_samples=2, shard_streams_by="file").eval is not None
