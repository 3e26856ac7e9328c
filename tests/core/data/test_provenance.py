"""What data on disk says of itself is passed on, believed and checked."""

from __future__ import annotations

import json
from copy import deepcopy

import datasets
import pytest

from neobert.data.pretokenized import pretokenized
from neobert.data.provenance import TOKENIZATION, Tokenization, fingerprint_of, recorded
from neobert.errors import UserError

ROWS = [[5, 6, 7], [8], [9, 10]]


@pytest.fixture
def saved(tmp_path, tokenizer):
    """``saved(rows, special_tokens=...)``: rows on disk with their record, loaded again."""

    def make(rows=ROWS, *, name="data", **about):
        folder = tmp_path / name
        datasets.Dataset.from_dict({"input_ids": rows}).save_to_disk(str(folder))
        Tokenization.of(tokenizer, **about).write(folder)
        return datasets.load_from_disk(str(folder))

    return make


def ids_of(documents):
    return [documents.ids(n, 0, int(length)).tolist() for n, length in enumerate(documents.lengths)]


def test_a_record_is_found_through_selections_and_splits(saved):
    rows = saved(special_tokens=False)
    for same in (rows, rows.select([2, 0]), rows.select_columns(["input_ids"]), rows.select(range(1, 3))):
        assert recorded(same, "train") == recorded(rows, "train")
    assert recorded(datasets.Dataset.from_dict({"input_ids": ROWS}), "train") is None


def test_rows_that_only_look_as_if_they_had_special_tokens_are_left_alone(saved, tokenizer):
    """Without a record they are detected; with one it is believed."""
    looking = [[2, 5, 3], [2, 6, 3]]
    assert ids_of(pretokenized(saved(looking, special_tokens=False), tokenizer, label="train")) == looking
    unsaid = datasets.Dataset.from_dict({"input_ids": looking})
    assert ids_of(pretokenized(unsaid, tokenizer, label="train")) == [[5], [6]]


def test_special_tokens_that_the_record_says_are_left_out(saved, tokenizer):
    rows = saved([[2, *row, 3] for row in ROWS], special_tokens=True)
    assert ids_of(pretokenized(rows, tokenizer, label="train")) == ROWS


def test_a_record_that_rows_contradict_is_refused(saved, tokenizer):
    with pytest.raises(UserError, match=r"2 special tokens around every row .* its rows have none"):
        pretokenized(saved(ROWS, special_tokens=True), tokenizer, label="train")


def test_rows_over_the_length_are_cut_only_where_they_are_text_alone(saved, tokenizer):
    long = [5] * 40
    assert len(pretokenized(saved([long], special_tokens=False), tokenizer, label="train", max_seq_length=16)) == 1
    around = [[2, 5, 3], [2, *long, 3]]
    for rows in (saved(around, name="said", special_tokens=True), datasets.Dataset.from_dict({"input_ids": around})):
        with pytest.raises(UserError, match=r"row 1 of train has 42 tokens .*over dataset\.max_seq_length = 16"):
            pretokenized(rows, tokenizer, label="train", max_seq_length=16)
        pretokenized(rows, tokenizer, label="train", max_seq_length=42)


def test_another_tokenizer_is_refused_with_both_named(saved, tokenizer):
    other = deepcopy(tokenizer)
    other.add_tokens(["unknown"])
    rows = saved(special_tokens=False)
    with pytest.raises(UserError) as caught:
        pretokenized(rows, other, label="train")
    assert fingerprint_of(tokenizer) in str(caught.value)
    assert fingerprint_of(other) in str(caught.value)


def test_a_special_token_that_is_given_later_makes_no_other_tokenizer(saved, tokenizer, tmp_path):
    other = deepcopy(tokenizer)
    other.add_special_tokens({"additional_special_tokens": ["<new>"]})
    other.backend_tokenizer.enable_truncation(4)
    pretokenized(saved(special_tokens=False), other, label="train")
    other.save_pretrained(str(tmp_path / "t"))
    from transformers import AutoTokenizer

    assert fingerprint_of(AutoTokenizer.from_pretrained(str(tmp_path / "t"))) == fingerprint_of(tokenizer)


def test_rows_of_two_tokenizations_are_not_joined(saved, tokenizer):
    one, two = saved(special_tokens=False), saved([[2, 5, 3]], name="two", special_tokens=True)
    with pytest.raises(UserError, match="train joins rows of different tokenizations"):
        pretokenized(datasets.concatenate_datasets([one, two]), tokenizer, label="train")


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', '{"format": 2}'])
def test_a_record_that_cannot_be_read_is_named(saved, tokenizer, tmp_path, content):
    rows = saved(special_tokens=False)
    (tmp_path / "data" / TOKENIZATION).write_text(content)
    with pytest.raises(UserError, match=r"data/tokenization\.json"):
        pretokenized(rows, tokenizer, label="train")


def test_what_is_written_says_it_in_words(saved, tmp_path):
    saved([[2, 5, 3]], special_tokens=True, max_length=8)
    said = json.loads((tmp_path / "data" / TOKENIZATION).read_text())
    assert (said["special_tokens"], said["max_length"], said["prefix"], said["suffix"]) == (True, 8, [2], [3])
