"""Small encoders for the tests of parts that need one.

Shapes: T tokens in the stream, C hidden size, M wanted positions, H heads, D head dim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from neobert.context import FusedMatrix
from neobert.testing.context import per_sequence

if TYPE_CHECKING:
    from neobert.batch import SequenceLayout


class TinyEncoder(nn.Module):
    """Everything that an encoder promises, in a few lines and in float64: tokens see their own sequence
    alone.

    In place of attention a token takes in the mean of its sequence and the mean of what came before it.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int = 8,
        num_blocks: int = 2,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.input_embedding = nn.Embedding(vocab_size, hidden_size)
        self.blocks = nn.ModuleList(self._make_block() for _ in range(num_blocks))
        self.scale = nn.Parameter(torch.ones(hidden_size))
        self.to(dtype)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)

    def forward(self, input_ids: Tensor, layout: SequenceLayout, keep: Tensor | None = None) -> Tensor:
        """input_ids (T,) -> (T, C), or (M, C) with ``keep`` (M,)."""
        hidden_TC = self.input_embedding(input_ids)
        for block in self.blocks:
            hidden_TC = block(hidden_TC, layout)
        hidden_TC = hidden_TC * self.scale
        result: Tensor = hidden_TC if keep is None else hidden_TC[keep]
        return result

    def _make_block(self) -> nn.Module:
        return _Block(self.hidden_size)


class AttentiveEncoder(TinyEncoder):
    """The same with attention, from a fused weight that it says the parts of; in float32."""

    def __init__(self, vocab_size: int = 20) -> None:
        super().__init__(vocab_size, dtype=torch.float32)

    @property
    def fused_matrices(self) -> dict[str, FusedMatrix]:
        """By head [query, key, value]."""
        parts = ("query", "key", "value")
        return {f"blocks.{i}.qkv.weight": FusedMatrix(parts, groups=_HEADS) for i in range(len(self.blocks))}

    def _make_block(self) -> nn.Module:
        return _AttentiveBlock(self.hidden_size)


_HEADS = 2


class _AttentiveBlock(nn.Module):
    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.attend = _attend

    def forward(self, hidden_TC: Tensor, layout: SequenceLayout) -> Tensor:
        q, k, v = self.qkv(hidden_TC).unflatten(1, (_HEADS, 3, -1)).unbind(2)
        return hidden_TC + self.attend(q, k, v, layout, scale=q.shape[-1] ** -0.5).flatten(1)


def _attend(q: Tensor, k: Tensor, v: Tensor, layout: SequenceLayout, *, scale: float) -> Tensor:
    """(T, H, D) each -> (T, H, D): softmax attention, one sequence after the other."""
    parts = []
    for q_LHD, k_LHD, v_LHD in zip(*(per_sequence(x, layout.lengths) for x in (q, k, v)), strict=True):
        shares_HLL = torch.einsum("ihd,jhd->hij", q_LHD, k_LHD).mul(scale).softmax(-1)
        parts.append(torch.einsum("hij,jhd->ihd", shares_HLL, v_LHD))
    return torch.cat(parts)


class _Block(nn.Module):
    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden_TC: Tensor, layout: SequenceLayout) -> Tensor:
        mixed = []
        for part_LC in per_sequence(hidden_TC, layout.lengths):
            count_L1 = torch.arange(1, len(part_LC) + 1, device=part_LC.device).unsqueeze(1)
            mixed.append(part_LC.mean(0) + part_LC.cumsum(0) / count_L1)
        result: Tensor = hidden_TC + torch.tanh(self.linear(torch.cat(mixed)))
        return result
