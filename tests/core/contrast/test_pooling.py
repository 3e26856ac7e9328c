"""Pooling on the stream is pooling one sequence after the other."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from neobert import SequenceLayout
from neobert.contrast.options import Pooling
from neobert.contrast.pooling import pool, pool_hidden, sum_in_order, sum_segments
from neobert.testing import TinyEncoder

POOLINGS = get_args(Pooling)


def plainly(hidden, layout, pooling, count):
    """A loop over sequences, and over tokens where tokens weigh differently."""
    vectors, start = [], 0
    for length in layout.lengths[:count]:
        tokens, start = hidden[start : start + length], start + length
        if pooling in ("mean", "avg"):
            vectors.append(sum(tokens[i] for i in range(length)) / length)
        elif pooling == "weighted_mean":
            vectors.append(sum((i + 1) * tokens[i] for i in range(length)) / sum(range(1, length + 1)))
        else:
            vectors.append({"cls": tokens[0], "last": tokens[-1], "max": tokens.max(0).values}[pooling])
    return torch.stack(vectors)


@pytest.mark.parametrize("pooling", POOLINGS)
@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=8), data=st.data())
def test_values_and_gradients_are_those_of_a_loop(pooling, lengths, data):
    layout = SequenceLayout.from_lengths(lengths)
    count = data.draw(st.integers(1, len(lengths)))
    hidden = torch.randn(sum(lengths), 3, dtype=torch.float64, requires_grad=True)
    found, expected = pool_hidden(hidden, layout, pooling, count), plainly(hidden, layout, pooling, count)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(found)
    ours, theirs = (torch.autograd.grad((x * weights).sum(), hidden)[0] for x in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_agree_with_finite_differences(pooling):
    layout = SequenceLayout.from_lengths((3, 1, 4))
    hidden = torch.randn(8, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda hidden: pool_hidden(hidden, layout, pooling), hidden)
    assert torch.autograd.gradgradcheck(lambda hidden: pool_hidden(hidden, layout, pooling), hidden)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_the_encoder_is_asked_for_makes_no_difference(pooling, make_encoder, stream):
    encoder, (ids, layout) = make_encoder(), stream
    found = pool(encoder, ids, layout, pooling)
    torch.testing.assert_close(found, plainly(encoder(ids, layout), layout, pooling, 7), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("pooling", ["cls", "last"])
def test_one_token_a_sequence_passes_the_last_feed_forward(pooling, make_encoder, stream):
    encoder, (ids, layout) = make_encoder(), stream
    seen = []
    encoder.blocks[-1].ffn.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    assert len(pool(encoder, ids, layout, pooling, 5)) == 5
    assert seen == [5]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_padding_sequence_is_left_out(pooling, stream):
    ids, layout = stream
    encoder = TinyEncoder(31)
    padded = SequenceLayout.from_lengths((*layout.lengths, 6))
    with_padding = pool(encoder, torch.cat((ids, ids[:6])), padded, pooling, 7)
    torch.testing.assert_close(with_padding, pool(encoder, ids, layout, pooling), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_narrow_hidden_states_are_summed_in_float32(pooling):
    layout = SequenceLayout.from_lengths((300, 2))
    hidden = torch.rand(302, 4).bfloat16() + 1
    found = pool_hidden(hidden, layout, pooling)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, pool_hidden(hidden.float(), layout, pooling))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_no_value_is_asked_of_the_device(pooling):
    """Tensors without values: whatever waits for one raises."""
    with FakeTensorMode():
        layout = SequenceLayout(torch.zeros(4, dtype=torch.int32), 3, (3, 1, 2), torch.zeros(6, dtype=torch.int64))
        hidden = torch.zeros(6, 4, requires_grad=True)
        pool_hidden(hidden, layout, pooling, 2).sum().backward()
        assert hidden.grad is not None


def test_both_ways_to_sum_are_one():
    rows, bounds = torch.randn(9, 5, dtype=torch.float64), torch.tensor([0, 4, 5, 9])
    torch.testing.assert_close(sum_segments(rows, bounds), sum_in_order(rows, bounds), rtol=1e-13, atol=1e-13)


def test_a_maximum_has_one_token_for_each_feature():
    hidden = torch.tensor([[1.0, 3.0], [1.0, 2.0]], requires_grad=True)
    pool_hidden(hidden, SequenceLayout.from_lengths((2,)), "max").sum().backward()
    assert hidden.grad.sum(0).tolist() == [1.0, 1.0]
    assert set(hidden.grad.flatten().tolist()) == {0.0, 1.0}


def test_a_pooling_that_is_not_there():
    with pytest.raises(ValueError, match="no pooling is called 'median'"):
        pool_hidden(torch.randn(2, 2), SequenceLayout.from_lengths((2,)), "median")
