"""Losses on embeddings made by hand."""

from __future__ import annotations

import pytest
import torch

from neobert import Batch, SequenceLayout
from neobert.testing import TinyEncoder, make_context


@pytest.fixture
def make_loss():
    """``make_loss(options)``: the loss in float64, for embeddings of 4 values; in train mode, of one process."""

    def make(options):
        torch.manual_seed(3)
        return options.build(make_context(encoder=TinyEncoder(31, hidden_size=4))).double()

    return make


@pytest.fixture
def batch_of():
    """``batch_of(sequences, query=[0, 1], ...)``: fields as given, and sequences of two tokens."""

    def make(sequences, **fields):
        tensors = {name: torch.as_tensor(value) for name, value in fields.items()}
        layout = SequenceLayout.from_lengths([2] * sequences)
        return Batch(torch.arange(2 * sequences) % 31, layout, tensors)

    return make


@pytest.fixture
def unit_rows():
    """``unit_rows(n)``: embeddings (n, 4) of length 1, which want a gradient."""

    def make(count, seed=0):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(count, 4, dtype=torch.float64, generator=generator)
        return (rows / rows.norm(dim=1, keepdim=True)).requires_grad_()

    return make


@pytest.fixture
def agree():
    """``agree(loss, batch, embeddings, expected)``: total, count and gradient are those of a plain sum."""

    def check(loss, batch, embeddings, expected, count):
        output = loss.losses_from(embeddings, batch)
        torch.testing.assert_close(output.total, expected, rtol=1e-11, atol=1e-11)
        assert output.count.item() == count
        (ours,) = torch.autograd.grad(output.total, embeddings)
        (theirs,) = torch.autograd.grad(expected, embeddings)
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
        return {name: value.item() for name, value in output.metrics.items()}

    return check
