"""Tensors here are tiny: more threads would only wait for each other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neobert import BuildContext, SequenceLayout
from neobert_plugins.models import NeoBERT


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_encoder():
    """``make_encoder(dropout_prob=0.3)``: a small NeoBERT in float64, in train mode."""

    def make(**options):
        context = BuildContext(
            seed=1,
            device=torch.device("cpu"),
            run_directory=Path(),
            max_seq_length=32,
            max_steps=1,
            vocab_size=31,
        )
        torch.manual_seed(0)
        small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
        return NeoBERT(**small, embedding_init_range=0.5, decoder_init_range=0.5, **options).build(context).double()

    return make


@pytest.fixture
def stream():
    """(ids, layout) of sequences of many lengths, two of one token."""
    lengths = (5, 1, 9, 3, 1, 7, 2)
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 31, (sum(lengths),), generator=generator), SequenceLayout.from_lengths(lengths)
