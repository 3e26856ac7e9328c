from __future__ import annotations

import gc
import weakref
from typing import ClassVar

import numpy as np
import pytest
import torch
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from neobert import Capabilities, SequenceLayout
from neobert.testing import check_attn_backend
from neobert_plugins.attention import FlexAttention, flex, sdpa
from neobert_plugins.attention.block_mask import ordered, seen_blocks

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=8).map(tuple)


def pairs(lengths, window, size):
    """(size, size) bool, pair by pair; tokens past the end see only themselves."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    owner = np.concatenate([owner, len(lengths) + np.arange(size - len(owner))])
    places = np.arange(size)
    near = np.abs(places[:, None] - places) <= (size if window is None else window)
    return (owner[:, None] == owner) & near


@settings(deadline=None, max_examples=60)
@given(LENGTHS, st.none() | st.integers(0, 50), st.sampled_from([4, 8, 16]), st.integers(0, 2))
def test_blocks_are_those_that_the_pairs_make(lengths, window, block, spare):
    rows = -(-sum(lengths) // block) + spare
    full = pairs(lengths, window, rows * block)
    by_block = full.reshape(rows, block, rows, block).transpose(0, 2, 1, 3)
    some, every = by_block.any((2, 3)), by_block.all((2, 3))
    found = seen_blocks(lengths, window, block, rows)
    assert not (found.partly & found.wholly).any()
    assert np.array_equal(found.partly | found.wholly, some)
    # A last block that is not full may be masked where it need not be, and never the other way round.
    real = sum(lengths) // block
    assert np.array_equal(found.wholly[:real, :real], every[:real, :real])


def test_ordered_columns_come_first():
    counts, columns = ordered(np.array([[False, True, True], [False, False, False], [True, False, True]]))
    assert counts.tolist() == [2, 0, 2]
    assert columns.tolist() == [[1, 2, 0], [0, 1, 2], [0, 2, 1]]
    assert counts.dtype == columns.dtype == np.int32


@pytest.mark.parametrize(("window", "lengths"), [(None, (130, 128, 1)), (3, (130, 128, 1)), (100, (1, 300))])
def test_the_mask_is_the_pairs(window, lengths):
    layout = SequenceLayout.from_lengths(lengths)
    mask = flex.make_mask(layout, window, 384, 64)
    i, j = torch.meshgrid(torch.arange(384), torch.arange(384), indexing="ij")
    inside = mask.mask_mod(torch.tensor(0), torch.tensor(0), i, j)
    assert torch.equal(inside, torch.from_numpy(pairs(lengths, window, 384)))
    assert mask.shape == (1, 1, 384, 384)


def dense(q, k, v, block_mask, scale):
    """What the kernel computes, over the whole matrix, from the blocks and the mask inside those seen in part."""
    length, block = q.shape[2], block_mask.BLOCK_SIZE[0]

    def spread(counts, columns):
        rows = torch.arange(length // block)
        seen = torch.zeros(length // block, length // block, dtype=torch.bool)
        for row in rows:
            seen[row, columns[0, 0, row, : counts[0, 0, row]].long()] = True
        return seen.repeat_interleave(block, 0).repeat_interleave(block, 1)

    i, j = torch.meshgrid(torch.arange(length), torch.arange(length), indexing="ij")
    inside = block_mask.mask_mod(None, None, i, j)
    partly = spread(block_mask.kv_num_blocks, block_mask.kv_indices)
    wholly = spread(block_mask.full_kv_num_blocks, block_mask.full_kv_indices)
    scores = (q.double() @ k.double().mT * scale).masked_fill(~(partly & inside | wholly), float("-inf"))
    return (scores.softmax(-1) @ v.double()).to(q.dtype)


@frozen(kw_only=True)
class Here(FlexAttention):
    """Stated for what the dense kernel can do."""

    capabilities: ClassVar[Capabilities] = Capabilities(devices=("cpu",), dtypes=("float32",), window=True)


def test_all_around_the_kernel_keeps_the_promises(monkeypatch):
    monkeypatch.setattr(flex, "_compiled", lambda: dense)
    check_attn_backend(Here(block_size=64))


def test_a_mask_is_made_once_for_a_layout_and_window_and_goes_with_the_layout(monkeypatch):
    made = []
    real = flex.make_mask
    monkeypatch.setattr(flex, "make_mask", lambda *given: made.append(given[1]) or real(*given))
    monkeypatch.setattr(flex, "_compiled", lambda: dense)
    backend, q = flex.FlexAttend(64), torch.randn(30, 2, 16)
    layout = SequenceLayout.from_lengths((20, 10))
    for _ in range(3):
        for window in (None, 4, 500):
            expected = sdpa.attend(q, q, q, layout, scale=0.25, window=window)
            torch.testing.assert_close(backend(q, q, q, layout, scale=0.25, window=window), expected)
    assert made == [None, 4]  # 500 keeps nothing out
    backend(q, q, q, SequenceLayout.from_lengths((20, 10)), scale=0.25)
    assert made == [None, 4, None]
    made.clear()
    gone = weakref.ref(layout)
    del layout
    gc.collect()
    assert gone() is None
    assert len(backend._masks) == 0


def test_few_lengths_are_compiled_whatever_comes():
    lengths = {flex.padded_length(n, 128) for n in range(1, 16385)}
    assert len(lengths) <= 2 * 8
    assert all(flex.padded_length(n, 128) - n < max(128, n / 2) for n in range(1, 16385))
    assert [flex.padded_length(n, 128) for n in (1, 128, 129, 3072, 4096, 4097)] == [128, 128, 256, 3072, 4096, 6144]


def test_what_torch_cannot_do_on_a_cpu_is_what_the_options_say():
    q = torch.randn(1, 1, 128, 16, requires_grad=True)
    with pytest.raises(NotImplementedError, match="does not support backward on CPU"):
        flex.flex_attention(q, q, q)


def test_dropout_is_refused():
    q = torch.randn(3, 1, 16)
    with pytest.raises(ValueError, match="flex has no dropout"):
        flex.FlexAttend(128)(q, q, q, SequenceLayout.from_lengths((3,)), scale=1.0, dropout_p=0.1)
