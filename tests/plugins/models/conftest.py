from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from neobert import BuildContext, Part
from neobert_plugins.attention import EagerAttention, SdpaAttention
from neobert_plugins.models import NeoBERT

BACKENDS = {"sdpa": SdpaAttention(), "eager": EagerAttention()}


@pytest.fixture(scope="session")
def reference():
    """The second implementation, loaded by path: test folders are no packages."""
    path = Path(__file__).with_name("reference_neobert.py")
    spec = importlib.util.spec_from_file_location("reference_neobert", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def options():
    """Options of a tiny model; anything else by name."""

    def make(backend: str = "sdpa", **changes) -> NeoBERT:
        values = {
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "intermediate_size": 30,
            "max_position_embeddings": 64,
            "attn_backend": Part(kind="attn_backend", name=backend, options=BACKENDS[backend]),
        }
        return NeoBERT(**(values | changes))

    return make


@pytest.fixture
def build(options):
    """A tiny encoder in float64, its weights large enough that every part of it matters."""

    def make(dtype: torch.dtype = torch.float64, vocab_size: int = 50, spread: float = 0.6, **changes):
        context = BuildContext(
            seed=1,
            device=torch.device("cpu"),
            run_directory=Path(),
            max_seq_length=32,
            max_steps=1,
            vocab_size=vocab_size,
        )
        torch.manual_seed(0)
        encoder = options(**changes).build(context).to(dtype)
        with torch.no_grad():
            for parameter in encoder.parameters():
                noise = spread * torch.randn_like(parameter)
                is_scale = parameter.dim() == 1
                parameter.copy_(parameter + noise / 2 if is_scale else noise)
        return encoder

    return make
