"""Two texts as one sequence, as the tokenizer itself joins and cuts them."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from neobert.data.example_build import examples_of
from neobert.data.example_form import ExampleForm
from neobert.data.example_report import count_examples
from neobert.data.pair_form import PairTokens, cut_pairs
from neobert.errors import UserError
from neobert.roles import PAIR, Roles
from neobert.served import CollatorKeys, DatasetKeys
from neobert.testing import make_tokenizer
from neobert.testing.context import WORDS

ROLES = Roles(required=("sentence1", "sentence2", "label"), joined=("sentence1", "sentence2"))
LENGTHS = [(1, 1), (3, 9), (9, 3), (30, 2), (2, 30), (14, 15), (15, 14), (40, 40), (7, 8), (1, 40), (13, 12)]


@pytest.fixture
def rows() -> Dataset:
    rng = np.random.default_rng(0)
    texts = [[" ".join(rng.choice(WORDS, size)) for size in pair] for pair in LENGTHS]
    return Dataset.from_dict(
        {
            "sentence1": [first for first, _ in texts],
            "sentence2": [second for _, second in texts],
            "label": [number % 2 for number in range(len(texts))],
        }
    )


def form(longest: int, **changes: object) -> ExampleForm:
    keys = DatasetKeys(max_seq_length=longest)
    return ExampleForm.of(ROLES, make_tokenizer(), keys, CollatorKeys(**changes))


@pytest.mark.parametrize("longest", [8, 9, 16, 32, 128])
def test_pairs_are_joined_and_cut_as_the_tokenizer_does(rows: Dataset, longest: int) -> None:
    tokenizer = make_tokenizer()
    examples = examples_of(rows, form(longest))
    for number, row in enumerate(rows):
        expected = tokenizer(row["sentence1"], row["sentence2"], truncation=True, max_length=longest)["input_ids"]
        example = examples.example(number)
        assert example[PAIR].tolist() == expected
        assert example.keys() == {PAIR, "label"}
        assert examples.lengths[number] == len(expected) <= longest
        assert examples.ids(number, 0, longest).tolist() == expected


def test_cutting_leaves_the_shorter_one_whole_as_long_as_it_can() -> None:
    first, second = cut_pairs(np.array([2, 30, 30, 9]), np.array([30, 2, 30, 4]), 15)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(2, 13), (13, 2), (7, 8), (9, 4)]


def test_what_was_cut_is_counted_and_may_be_left_out(rows: Dataset) -> None:
    over = sum(first + second > 16 - 3 for first, second in LENGTHS)
    counts = count_examples([examples_of(rows, form(16))])
    assert counts.examples == len(LENGTHS)
    assert any("cut to 13 tokens, both of a pair together" in line for line in counts.lines())
    assert count_examples([examples_of(rows, form(16, overflow="drop"))]).dropped == over


def test_special_tokens_are_found_by_asking() -> None:
    tokenizer = make_tokenizer()
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert PairTokens.of(tokenizer) == PairTokens((cls,), (sep,), (sep,))


def test_refusals() -> None:
    with pytest.raises(UserError, match="leaves two texts no room"):
        form(4)
    for joined, why in (
        (("sentence1",), "two of the required roles"),
        (("sentence1", "label"), "two of the required roles"),
    ):
        with pytest.raises(ValueError, match=why):
            Roles(required=("sentence1", "sentence2", "label"), joined=joined)
    with pytest.raises(ValueError, match="neither kept apart nor copied"):
        Roles(required=("query", "positive"), joined=("query", "positive"))
