"""Chunks change neither the embeddings nor the gradient, and bound memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from neobert import SequenceLayout
from neobert.contrast.chunks import chunk_bounds, part_of, pool_in_chunks
from neobert.contrast.pooling import pool
from neobert.testing import TinyEncoder
from neobert.training.memory import MemoryCounter

SIZES = [1, 6, 10, 1000]


@given(lengths=st.lists(st.integers(1, 9), max_size=12), most=st.integers(1, 20))
def test_chunks_hold_every_sequence_once_and_as_many_as_fit(lengths, most):
    bounds = chunk_bounds(lengths, most)
    assert [number for first, last in bounds for number in range(first, last)] == list(range(len(lengths)))
    sizes = [sum(lengths[first:last]) for first, last in bounds]
    assert all(size <= most or last - first == 1 for size, (first, last) in zip(sizes, bounds, strict=True))
    assert all(size + lengths[last] > most for size, (_, last) in zip(sizes[:-1], bounds[:-1], strict=True))


def test_a_part_of_a_layout_is_the_layout_of_the_part(stream):
    _, layout = stream
    for first, last in ((0, 7), (2, 5), (6, 7)):
        part, alone = part_of(layout, first, last), SequenceLayout.from_lengths(layout.lengths[first:last])
        assert (part.lengths, part.max_seqlen) == (alone.lengths, alone.max_seqlen)
        assert torch.equal(part.cu_seqlens, alone.cu_seqlens)
        assert part.cu_seqlens.dtype == torch.int32
        assert torch.equal(part.position_ids, alone.position_ids)


def gradients(encoder, embeddings):
    """Of a sum in which each value weighs differently, for every parameter."""
    encoder.zero_grad(set_to_none=True)
    weights = torch.randn(embeddings.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (embeddings.square() * weights).sum().backward()
    return {name: parameter.grad for name, parameter in encoder.named_parameters()}


def looped(encoder, ids, layout, pooling, most):
    """Chunk after chunk, with nothing computed twice."""
    pieces = []
    for first, last in chunk_bounds(layout.lengths, most):
        start, stop = sum(layout.lengths[:first]), sum(layout.lengths[:last])
        pieces.append(pool(encoder, ids[start:stop], SequenceLayout.from_lengths(layout.lengths[first:last]), pooling))
    return torch.cat(pieces)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("most", SIZES)
def test_without_dropout_chunks_are_the_whole(most, pooling, make_encoder, stream):
    encoder = make_encoder()
    whole = pool(encoder, *stream, pooling)
    found = pool_in_chunks(encoder, *stream, pooling, chunk_tokens=most)
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-12)
    expected = gradients(encoder, whole)
    for name, gradient in gradients(encoder, found).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-11, msg=name)


@pytest.mark.parametrize("pooling", ["weighted_mean", "last"])
@pytest.mark.parametrize("most", SIZES)
def test_with_dropout_chunks_are_the_loop_that_keeps_everything(most, pooling, make_encoder, stream):
    encoder = make_encoder(dropout_prob=0.3)
    torch.manual_seed(7)
    plain = looped(encoder, *stream, pooling, most)
    after = torch.get_rng_state()
    expected = gradients(encoder, plain)
    torch.manual_seed(7)
    found = pool_in_chunks(encoder, *stream, pooling, chunk_tokens=most)
    assert torch.equal(found, plain)
    for name, gradient in gradients(encoder, found).items():
        assert torch.equal(gradient, expected[name]), name
    assert torch.equal(torch.get_rng_state(), after), "the backward pass leaves the generator where it was"


def test_one_chunk_is_the_whole_with_dropout_too(make_encoder, stream):
    encoder = make_encoder(dropout_prob=0.3)
    torch.manual_seed(7)
    whole = pool(encoder, *stream, "mean")
    torch.manual_seed(7)
    assert torch.equal(pool_in_chunks(encoder, *stream, "mean", chunk_tokens=1000), whole)
    torch.manual_seed(8)
    assert not torch.equal(pool_in_chunks(encoder, *stream, "mean", chunk_tokens=1000), whole)


def test_blocks_may_be_recomputed_as_well(make_encoder, stream):
    from neobert.recipe.trainer import TrainerOptions
    from neobert.training.objective import checkpoint_blocks

    encoder = make_encoder(dropout_prob=0.3)
    torch.manual_seed(7)
    expected = gradients(encoder, looped(encoder, *stream, "mean", 10))
    checkpoint_blocks(encoder.blocks, TrainerOptions(gradient_checkpointing=True, export_attn_backend="eager"))
    torch.manual_seed(7)
    for name, gradient in gradients(encoder, pool_in_chunks(encoder, *stream, "mean", chunk_tokens=10)).items():
        assert torch.equal(gradient, expected[name]), name


def test_padding_is_not_encoded_at_all(stream):
    ids, layout = stream
    seen = []

    class Watched(TinyEncoder):
        def forward(self, input_ids, layout, keep=None):
            seen.append(len(input_ids))
            return super().forward(input_ids, layout, keep)

    padded = SequenceLayout.from_lengths((*layout.lengths, 50))
    found = pool_in_chunks(
        Watched(31), torch.cat((ids, ids.new_zeros(50))), padded, "mean", num_sequences=7, chunk_tokens=10
    )
    assert len(found) == 7
    assert sum(seen) == len(ids)
    assert max(seen) <= 10


def test_nothing_is_computed_twice_without_a_gradient(make_encoder, stream):
    encoder, calls = make_encoder(), []
    encoder.blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        found = pool_in_chunks(encoder, *stream, "mean", chunk_tokens=10)
    assert not found.requires_grad
    assert len(calls) == len(chunk_bounds(stream[1].lengths, 10))


def test_memory_is_that_of_a_chunk(make_encoder):
    """What lives at the worst moment of forward and backward, counted without values."""

    def peak(sequences, most):
        encoder = make_encoder()
        layout = SequenceLayout.from_lengths((32,) * sequences)
        with FakeTensorMode(allow_non_fake_inputs=True), MemoryCounter() as counter:
            ids = torch.zeros(32 * sequences, dtype=torch.int64)
            if most is None:
                pooled = pool(encoder, ids, layout, "mean")
            else:
                pooled = pool_in_chunks(encoder, ids, layout, "mean", chunk_tokens=most)
            pooled.sum().backward()
            return counter.peak

    whole, chunks = peak(16, None), peak(16, 64)
    assert chunks < whole / 3
    assert peak(32, 64) - chunks < (peak(32, None) - whole) / 10
