"""One thing is one thing, and two are two."""

from __future__ import annotations

import pytest

from neobert.wording import counted, listed


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (1, "document", "1 document"),
        (0, "token", "0 tokens"),
        (2000, "sequence", "2,000 sequences"),
        (1, "micro-batch", "1 micro-batch"),
        (2, "batch", "2 batches"),
        (3, "pass", "3 passes"),
        (2, "epoch", "2 epochs"),
        (1, "query", "1 query"),
        (2, "query", "2 queries"),
        (2, "key", "2 keys"),
    ],
)
def test_numbers_with_their_nouns(number, noun, said):
    assert counted(number, noun) == said


@pytest.mark.parametrize(
    ("names", "said"), [((), ""), (("a",), "a"), (("a", "b"), "a and b"), (("a", "b", "c"), "a, b and c")]
)
def test_names_in_a_row(names, said):
    assert listed(names) == said
    assert listed(iter(names), "nor") == said.replace("and", "nor")
