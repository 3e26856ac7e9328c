"""A micro-batch as people read it, and how long documents are."""

from __future__ import annotations

import numpy as np
import torch

from neobert.batch import Batch, SequenceLayout, pad_batch
from neobert.data.lengths import describe_lengths
from neobert.data.show import printable, show


def text_of(spans):
    return " ".join(span.text for span in spans)


def masked_batch():
    """[CLS] w0 [MASK] w7 w3 [SEP], of which w1 is masked, w2 replaced by w7 and w3 kept; and [CLS] w4 [SEP]."""
    ids = torch.tensor([2, 5, 4, 12, 8, 3, 2, 9, 3])
    fields = {"masked_positions": torch.tensor([2, 3, 4]), "labels": torch.tensor([6, 7, 8])}
    return Batch(ids, SequenceLayout.from_lengths([6, 3]), fields)


def test_what_stands_there_and_what_is_asked_for(tokenizer):
    shown = show(masked_batch(), tokenizer)
    assert [text_of(spans) for spans in shown.sequences] == [
        "[CLS] w0 [MASK→w1] [w7→w2] [w3→w3] [SEP]",
        "[CLS] w4 [SEP]",
    ]
    styles = [span.style for span in shown.sequences[0]]
    assert styles == ["special", "text", "masked", "replaced", "kept", "special"]
    assert "2 sequences of 3 to 6 tokens" in shown.summary[0]
    assert "fill 100.00%" in shown.summary[0]
    assert shown.summary[1] == "3 tokens asked for (33.33%): 33.3% masked, 33.3% replaced, 33.3% kept"


def test_a_sequence_of_a_mixture_is_shown_with_its_source(tokenizer):
    shown = show(masked_batch(), tokenizer, ["web", "bo\noks"])
    assert [text_of(spans).split(" [CLS]")[0] for spans in shown.sequences] == ["(web)", "(bo oks)"]
    assert show(masked_batch(), tokenizer, ["web"]).sequences == show(masked_batch(), tokenizer).sequences


def test_padding_is_counted_and_no_text(tokenizer):
    shown = show(pad_batch(masked_batch(), 12, 0), tokenizer)
    assert text_of(shown.sequences[-1]) == "(3 tokens of padding)"
    assert "9 tokens in all, 3 of padding, fill 75.00%" in shown.summary[0]


def test_a_collator_without_masks(tokenizer):
    batch = Batch(torch.tensor([2, 5, 3]), SequenceLayout.from_lengths([3]), {"scores": torch.zeros(2, 4)})
    shown = show(batch, tokenizer)
    assert text_of(shown.sequences[0]) == "[CLS] w0 [SEP]"
    assert shown.summary[1:] == ("field scores: 2 x 4, float32",)


def test_what_a_terminal_would_obey_is_written_out():
    assert printable("a\nb\x1b[31mc\u202e") == "a b\\x1b[31mc\\u202e"


def test_lengths_in_words():
    quantiles, *bars = describe_lengths(np.array([0, 1, 2, 3, 5, 5, 7, 900]))
    assert quantiles.startswith("tokens a document: shortest 1, 5 % 1, 25 % 2, median 5, 75 % 5, 95 % 7, longest 900;")
    assert [bar.split("|")[0].strip() for bar in bars] == [
        "1", "2-3", "4-7", "8-15", "16-31", "32-63", "64-127", "128-255", "256-511", "512-1,023",
    ]  # fmt: skip
    assert [int(bar.split("|")[1].replace("#", "").split()[0]) for bar in bars] == [1, 2, 3, 0, 0, 0, 0, 0, 0, 1]
    assert "97.5% of the tokens" in bars[-1]
    assert describe_lengths(np.zeros(3, dtype=np.int32)) == ()
