"""The normalised block of nGPT (Loshchilov et al., 2024, arXiv:2410.01131), as published with NeoBERT.

Hidden states lie on the unit sphere, and each half of the block moves them a learned share of the way towards
what it computed. The published training normalises no weights after a step, and neither do we.

Shapes: T tokens in the stream, M of them wanted, H heads, D head dim, C hidden size, I feed-forward width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neobert import FusedMatrix
from neobert_plugins.models.block import reach_of, select, split_heads

if TYPE_CHECKING:
    from neobert import SequenceLayout
    from neobert.interfaces import AttentionBackend
    from neobert_plugins.models import NeoBERT

ALPHA_START = 0.05
"""Share of the way that each half of a fresh block moves."""


class NormalizedBlock(nn.Module):
    """Called like `Block`. ``c_fc`` is [up, gate]: the other way round than in the plain block."""

    def __init__(self, options: NeoBERT, attend: AttentionBackend, index: int) -> None:
        super().__init__()
        hidden, width = options.hidden_size, options.feed_forward_width
        self.num_heads = options.num_attention_heads
        # Normalising q and k takes YaRN's factor off them again, so it stands here: once for each.
        factor = options.positions.rotation_of(index).attention_factor if options.rope else 1.0
        self.scale = options.head_dim**0.5 * factor**2
        self.dropout_prob = options.dropout_prob
        self.base_scale = options.base_scale
        self.attend = attend
        self.reach = reach_of(options.positions.window_of(index))
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.wo = nn.Linear(hidden, hidden, bias=False)
        self.c_fc = nn.Linear(hidden, 2 * width, bias=False)
        self.mlp_c_proj = nn.Linear(width, hidden, bias=False)
        self.attn_alpha = nn.Parameter(torch.full((hidden,), options.base_scale))
        self.mlp_alpha = nn.Parameter(torch.full((hidden,), options.base_scale))
        self.sqk = nn.Parameter(torch.full((hidden,), options.base_scale))
        self.suv = nn.Parameter(torch.ones(2 * width))

    @property
    def fused_matrices(self) -> dict[str, FusedMatrix]:
        """How the rows of fused weights are divided, by the parameter's name in the block."""
        parts = ("query", "key", "value")
        return {
            "qkv.weight": FusedMatrix(parts, groups=self.num_heads, normalized=("query", "key")),
            "c_fc.weight": FusedMatrix(("up", "gate")),
        }

    def forward(
        self, hidden: Tensor, rotary: Tensor | None, layout: SequenceLayout, keep: Tensor | None = None
    ) -> Tensor:
        """hidden (T, C) -> unit vectors (T, C), or (M, C) with ``keep`` (M,)."""
        dropout_p = self.dropout_prob if self.training else 0.0
        seen_TC = self._attended(hidden, rotary, layout, dropout_p)
        seen_TC, hidden = select(keep, seen_TC, hidden)
        hidden = self._move(hidden, F.dropout(self.wo(seen_TC), dropout_p), self.attn_alpha)
        return self._move(hidden, F.dropout(self._feed_forward(hidden), dropout_p), self.mlp_alpha)

    def _attended(self, hidden: Tensor, rotary: Tensor | None, layout: SequenceLayout, dropout_p: float) -> Tensor:
        q, k, v = split_heads(self.qkv(hidden), self.num_heads, rotary)
        scale_HD = (self.sqk / self.base_scale).view(self.num_heads, -1)
        q, k = ((scale_HD * F.normalize(x, dim=-1)).to(v.dtype) for x in (q, k))
        return self.attend(q, k, v, layout, scale=self.scale, dropout_p=dropout_p, **self.reach).flatten(1)

    def _feed_forward(self, hidden: Tensor) -> Tensor:
        up_TI, gate_TI = (self.suv * hidden.shape[-1] ** 0.5 * self.c_fc(hidden)).chunk(2, dim=-1)
        out: Tensor = self.mlp_c_proj(up_TI * F.silu(gate_TI))
        return out

    def _move(self, hidden: Tensor, towards: Tensor, alpha: Tensor) -> Tensor:
        start = F.normalize(hidden, dim=-1)
        share = (alpha * (ALPHA_START / self.base_scale)).abs()
        return F.normalize(start + share * (F.normalize(towards, dim=-1) - start), dim=-1)
