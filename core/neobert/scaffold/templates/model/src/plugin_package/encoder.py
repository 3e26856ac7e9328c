"""An encoder of parallel blocks.

Shapes: T tokens in the stream, C hidden size, H heads, D head dim, M wanted positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from neobert import FusedMatrix
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from neobert import SequenceLayout
    from neobert.interfaces import AttentionBackend

    from .plugin import PluginOptions

Rotation = tuple[Tensor, Tensor]
"""Cosine and sine (T, 1, D / 2) of each token's angles."""


class ParallelEncoder(nn.Module):
    """Token ids to hidden states; no padded position is ever computed."""

    def __init__(self, options: PluginOptions, vocab_size: int, attend: AttentionBackend) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.hidden_size = options.hidden_size
        self.head_dim = options.hidden_size // options.num_attention_heads
        self.input_embedding = nn.Embedding(vocab_size, options.hidden_size)
        self.blocks = nn.ModuleList(_Block(options, attend) for _ in range(options.num_hidden_layers))
        self.norm = nn.LayerNorm(options.hidden_size)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    @property
    def fused_matrices(self) -> dict[str, FusedMatrix]:
        """Optimizers that treat matrices as such may take these apart."""
        parts = FusedMatrix(("query", "key", "value"))
        return {f"blocks.{index}.qkv.weight": parts for index in range(len(self.blocks))}

    def forward(self, input_ids: Tensor, layout: SequenceLayout, keep: Tensor | None = None) -> Tensor:
        """input_ids (T,) -> (T, C), or (M, C) with ``keep`` (M,), in its order."""
        hidden: Tensor = self.input_embedding(input_ids)
        rotation = _rotation(layout.position_ids, self.head_dim, hidden.dtype)
        for block in self.blocks:
            hidden = block(hidden, layout, rotation)
        wanted: Tensor = self.norm(hidden if keep is None else hidden[keep])
        return wanted


class _Block(nn.Module):
    def __init__(self, options: PluginOptions, attend: AttentionBackend) -> None:
        super().__init__()
        width = options.hidden_size
        self.heads = options.num_attention_heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, options.intermediate_size, bias=False)
        self.down = nn.Linear(options.intermediate_size, width, bias=False)
        self.dropout = nn.Dropout(options.dropout_prob)
        self.attend = attend  # under this name `--profile` times it

    def forward(self, hidden: Tensor, layout: SequenceLayout, rotation: Rotation) -> Tensor:
        """(T, C) -> (T, C)."""
        x = self.norm(hidden)
        q, k, v = self.qkv(x).unflatten(1, (3, self.heads, -1)).unbind(1)
        scale = q.shape[-1] ** -0.5
        attended = self.attend(_rotate(q, rotation), _rotate(k, rotation), v, layout, scale=scale).flatten(1)
        added: Tensor = self.out(attended) + self.down(F.gelu(self.up(x)))
        result: Tensor = hidden + self.dropout(added)
        return result


def _rotation(position_ids: Tensor, head_dim: int, dtype: torch.dtype) -> Rotation:
    pairs = torch.arange(0, head_dim, 2, device=position_ids.device, dtype=torch.float32)
    angles = position_ids[:, None, None] * torch.pow(10000.0, -pairs / head_dim)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def _rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turns pairs of features (i, i + D / 2) of q or k (T, H, D) by each token's angles, and keeps their dtype."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1).to(x.dtype)
