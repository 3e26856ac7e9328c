"""Special tokens are found from what a tokenizer does; documents are cut where the body ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors

from neobert.data.sequences import Cut, Pieces, SpecialTokens, body_length
from neobert.errors import UserError


def test_special_tokens_of_a_bert_like_tokenizer(tokenizer):
    assert SpecialTokens.of(tokenizer) == SpecialTokens((2,), (3,))


@pytest.mark.parametrize(
    ("template", "expected"), [("$A", ((), ())), ("$A [SEP]", ((), (3,))), ("[CLS] [SEP] $A", ((2, 3), ()))]
)
def test_special_tokens_of_others(tokenizer, template, expected):
    from copy import deepcopy

    other = deepcopy(tokenizer)
    other.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    assert SpecialTokens.of(other) == SpecialTokens(*expected)


def test_around():
    assert SpecialTokens((1,), (2, 3)).around(np.array([7, 8], dtype=np.uint16)).tolist() == [1, 7, 8, 2, 3]


def test_no_room_beside_special_tokens():
    with pytest.raises(UserError, match="max_seq_length = 3 leaves no room beside 3"):
        body_length(3, SpecialTokens((1,), (2, 3)))


@given(
    lengths=st.lists(st.integers(0, 30), max_size=30),
    body=st.integers(1, 12),
    overflow=st.sampled_from(["split", "truncate", "drop"]),
)
def test_cut(lengths, body, overflow):
    cut = Cut(np.array(lengths, dtype=np.int32), body, overflow)
    expected = []
    for document, length in enumerate(lengths):
        stop = {"split": length, "truncate": min(length, body), "drop": length if length <= body else 0}[overflow]
        expected += [(document, start, min(start + body, stop)) for start in range(0, stop, body)]
    assert len(cut) == len(expected)
    pieces = cut.pieces(np.arange(len(cut)))
    assert list(pieces.to_tuples()) == expected
    backwards = cut.pieces(np.arange(len(cut))[::-1].copy())
    assert list(backwards.to_tuples()) == expected[::-1]
    assert Pieces.from_tuples(pieces.to_tuples()).to_tuples() == pieces.to_tuples()
    assert cut.over == sum(length > body for length in lengths)
