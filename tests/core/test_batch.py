"""Layouts and batches: boundaries, positions, padding, devices."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neobert.batch import Batch, SequenceLayout, pad_batch

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@given(lengths)
def test_a_layout_from_lengths_and_one_from_boundaries_agree(host: list[int]) -> None:
    made = SequenceLayout.from_lengths(host)
    derived = SequenceLayout(torch.tensor([0, *torch.tensor(host).cumsum(0).tolist()], dtype=torch.int32), max(host))
    assert made.lengths == derived.lengths == tuple(host)
    assert made.cu_seqlens.dtype == torch.int32
    assert torch.equal(made.cu_seqlens, derived.cu_seqlens)
    assert made.position_ids.tolist() == derived.position_ids.tolist() == [p for n in host for p in range(n)]
    assert made.position_ids.dtype == torch.int64
    assert (made.num_sequences, made.num_tokens, made.max_seqlen) == (len(host), sum(host), max(host))


def test_a_sequence_has_at_least_one_token() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        SequenceLayout.from_lengths([3, 0, 2])


def _batch() -> Batch:
    return Batch(torch.arange(5), SequenceLayout.from_lengths([3, 2]), {"labels": torch.tensor([1])})


def test_padding_is_a_last_sequence_that_is_not_counted() -> None:
    padded = pad_batch(_batch(), 8, pad_token_id=9)
    assert padded.input_ids.tolist() == [0, 1, 2, 3, 4, 9, 9, 9]
    assert padded.layout.lengths == (3, 2, 3)
    assert (padded.num_sequences, padded.layout.num_sequences, padded.num_tokens) == (2, 3, 5)
    whole = _batch()
    assert pad_batch(whole, 5, pad_token_id=9) is whole
    for wrong in (4, 9):
        with pytest.raises(ValueError, match="cannot pad"):
            pad_batch(padded if wrong == 9 else _batch(), wrong, pad_token_id=9)


def test_batches_compare_by_identity_move_whole_and_pickle() -> None:
    batch = _batch()
    assert batch == batch
    assert batch != _batch()
    moved = batch.to("meta")
    assert {t.device.type for t in (moved.input_ids, moved.layout.cu_seqlens, moved.layout.position_ids)} == {"meta"}
    assert moved.fields["labels"].device.type == "meta"
    assert moved.layout.lengths == batch.layout.lengths
    again = pickle.loads(pickle.dumps(batch))  # noqa: S301
    assert torch.equal(again.input_ids, batch.input_ids)
    assert again.layout.lengths == batch.layout.lengths


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pinned_batches_stay_whole() -> None:
    pinned = _batch().pin_memory()
    assert pinned.input_ids.is_pinned()
    assert pinned.layout.position_ids.is_pinned()
    assert pinned.fields["labels"].is_pinned()
