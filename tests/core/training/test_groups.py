"""Parameter groups: each parameter once, by role."""

from __future__ import annotations

import torch
from torch import nn

from neobert.training.groups import group_parameters


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input_embedding = nn.Embedding(8, 4)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))])
        self.projection = nn.Linear(4, 4, bias=False)
        self.frozen = nn.Parameter(torch.zeros(3), requires_grad=False)


class _Loss(nn.Module):
    def __init__(self, encoder: _Encoder, tied: bool) -> None:
        super().__init__()
        self.weight = encoder.input_embedding.weight if tied else nn.Parameter(torch.zeros(8, 4))
        self.bias = nn.Parameter(torch.zeros(8))


def _names(tied: bool) -> dict[tuple[str, bool], list[str]]:
    encoder = _Encoder()
    groups = group_parameters(encoder, _Loss(encoder, tied))
    assert all(group.parameters for group in groups)
    return {(group.role, group.decay): list(group.parameters) for group in groups}


def test_roles() -> None:
    assert _names(tied=False) == {
        ("embedding", True): ["encoder.input_embedding.weight"],
        ("matrix", True): ["encoder.blocks.0.0.weight"],
        ("vector", False): [
            "encoder.blocks.0.0.bias",
            "encoder.blocks.0.1.weight",
            "encoder.blocks.0.1.bias",
            "loss.bias",
        ],
        ("vector", True): ["encoder.projection.weight"],
        ("head", True): ["loss.weight"],
    }


def test_tied_ones_stand_once() -> None:
    assert ("head", True) not in _names(tied=True)
