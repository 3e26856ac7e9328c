"""The suites of schedulers, datasets, tokenizers and trackers notice each way of being wrong."""

from __future__ import annotations

import itertools

import pytest
from datasets import Dataset, IterableDataset

from neobert.testing import check_dataset, check_scheduler, check_tokenizer, check_tracker, make_tokenizer


def test_a_plain_schedule_passes(options_for):
    check_scheduler(options_for(lambda context: lambda step: 1.0 - step / context.max_steps), max_steps=50)


def counting(context):
    calls = itertools.count()
    return lambda step: 1.0 / (1 + next(calls))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (counting, "pure function of the step"),
        (lambda context: lambda step: 0.5 - step / context.max_steps, "finite number of at least 0"),
        (lambda context: lambda step: float("nan"), "finite number"),
        (lambda context: lambda step: None, "finite number"),
        (lambda context: lambda step: 0.0, "some update"),
        (lambda context: lambda step: 1.0 + context.seed, "does not depend on the seed"),
    ],
    ids=["counts calls", "negative", "nan", "none", "always zero", "seed"],
)
def test_a_broken_schedule_is_noticed(make, words, options_for, notices):
    notices(check_scheduler, options_for(make), words, max_steps=20)


def rows(start, stop):
    return Dataset.from_dict({"text": [f"row {i}" for i in range(start, stop)]})


calls = itertools.count()


def changing(context):
    return {"train": rows(next(calls), 30)}


def read_once(context):
    left = iter([{"text": "a"}, {"text": "b"}])

    def generate():
        yield from left

    return {"train": IterableDataset.from_generator(generate)}


def test_plain_datasets_pass(options_for):
    check_dataset(options_for(lambda context: {"train": rows(0, 30), "eval": rows(30, 35)}))
    check_dataset(options_for(lambda context: {"train": rows(0, 9).to_iterable_dataset()}))
    check_dataset(options_for(lambda context: {"train": Dataset.from_dict({"input_ids": [[1, 2], [3]]})}))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda context: rows(0, 9), "mapping of splits"),
        (lambda context: {"eval": rows(0, 9)}, "has a split `train`"),
        (lambda context: {"train": [{"text": "a"}]}, "datasets.Dataset"),
        (lambda context: {"train": rows(0, 0)}, "has rows"),
        (lambda context: {"train": Dataset.from_dict({"number": [1.5, 2.5]})}, "column of text"),
        (lambda context: {"train": Dataset.from_dict({"text": ["", ""]})}, "column of text"),
        (lambda context: {"train": rows(0, 30), "eval": rows(0, 5)}, "held out are not trained on"),
        (changing, "building a dataset again"),
        (read_once, "read again from its start"),
    ],
    ids=["bare", "no train", "list", "empty", "numbers", "blank", "overlap", "changing", "once"],
)
def test_a_broken_dataset_is_noticed(make, words, options_for, notices):
    notices(check_dataset, options_for(make), words)


def test_a_plain_tokenizer_passes(options_for):
    check_tokenizer(options_for(lambda context: make_tokenizer()))


def without_mask(context):
    tokenizer = make_tokenizer()
    tokenizer.mask_token = None
    return tokenizer


def growing(context):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([f"extra{next(calls)}"])
    return tokenizer


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda context: make_tokenizer().backend_tokenizer, "PreTrainedTokenizerFast"),
        (without_mask, "mask_token"),
        (growing, "again gives the same one"),
    ],
    ids=["not transformers'", "no mask", "changing"],
)
def test_a_broken_tokenizer_is_noticed(make, words, options_for, notices):
    notices(check_tokenizer, options_for(make), words)


class Tracker:
    def __init__(self, context):
        pass

    def log(self, metrics, step):
        pass

    def close(self):
        pass


class PopsMetrics(Tracker):
    def log(self, metrics, step):
        metrics.pop("train/loss")


class RefusesNaN(Tracker):
    def log(self, metrics, step):
        assert all(value == value for value in metrics.values())


def test_trackers(options_for, notices):
    check_tracker(options_for(Tracker))
    for broken in (PopsMetrics, RefusesNaN):
        notices(check_tracker, options_for(broken), "takes any numbers")
