"""The repeated block: attention and a feed-forward layer, each behind a norm and added to what came in.

Shapes: T tokens in the stream, M of them wanted, H heads, D head dim, C hidden size, I feed-forward width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import Tensor, nn
from torch.nn import functional as F

from neobert import FusedMatrix
from neobert_plugins.models.gating import gated_linear
from neobert_plugins.models.norm import RMSNorm, project_normed
from neobert_plugins.models.rotary import split_rotated

if TYPE_CHECKING:
    from neobert import SequenceLayout
    from neobert.interfaces import AttentionBackend
    from neobert_plugins.models import NeoBERT


class Block(nn.Module):
    """A pre-norm block. Names of modules and rows of matrices are those of the published weights."""

    def __init__(self, options: NeoBERT, attend: AttentionBackend, index: int) -> None:
        super().__init__()
        self.num_heads = options.num_attention_heads
        self.scale = options.head_dim**-0.5
        self.dropout_prob = options.dropout_prob
        self.attend = attend
        self.reach = reach_of(options.positions.window_of(index))
        self.attention_norm = make_norm(options)
        self.qkv = nn.Linear(options.hidden_size, 3 * options.hidden_size, bias=False)
        self.wo = nn.Linear(options.hidden_size, options.hidden_size, bias=False)
        self.ffn_norm = make_norm(options)
        self.ffn = _make_feed_forward(options)

    @property
    def fused_matrices(self) -> dict[str, FusedMatrix]:
        """How the rows of fused weights are divided, by the parameter's name in the block."""
        fused = {"qkv.weight": FusedMatrix(("query", "key", "value"), groups=self.num_heads)}
        if isinstance(self.ffn, SwiGLU):
            fused["ffn.w12.weight"] = FusedMatrix(("gate", "up"))
        return fused

    def forward(
        self, hidden: Tensor, rotary: Tensor | None, layout: SequenceLayout, keep: Tensor | None = None
    ) -> Tensor:
        """hidden (T, C) -> (T, C), or (M, C) with ``keep`` (M,): past attention no token needs another."""
        dropout_p = self.dropout_prob if self.training else 0.0
        qkv = project_normed(self.attention_norm, self.qkv, hidden)
        q, k, v = split_heads(qkv, self.num_heads, rotary)
        seen_TC = self.attend(q, k, v, layout, scale=self.scale, dropout_p=dropout_p, **self.reach).flatten(1)
        seen_TC, hidden = select(keep, seen_TC, hidden)
        hidden = hidden + F.dropout(self.wo(seen_TC), dropout_p)
        return hidden + F.dropout(self.ffn(hidden, self.ffn_norm), dropout_p)


class SwiGLU(nn.Module):
    """A gated feed-forward layer (Shazeer, 2020, arXiv:2002.05202); ``w12`` is [gate, up] in one matrix."""

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.w12 = nn.Linear(hidden_size, 2 * width, bias=False)
        self.w3 = nn.Linear(width, hidden_size, bias=False)

    def forward(self, hidden: Tensor, norm: nn.Module) -> Tensor:
        """(T, C), to be normed first -> (T, C)."""
        return gated_linear(project_normed(norm, self.w12, hidden), self.w3.weight)


class GELU(nn.ModuleList):
    """A feed-forward layer without a gate."""

    def __init__(self, hidden_size: int, width: int) -> None:
        up, down = nn.Linear(hidden_size, width, bias=False), nn.Linear(width, hidden_size, bias=False)
        super().__init__((up, nn.GELU(), down))

    def forward(self, hidden: Tensor, norm: nn.Module) -> Tensor:
        """(T, C), to be normed first -> (T, C)."""
        up, activation, down = self
        return cast(Tensor, down(activation(project_normed(norm, cast(nn.Linear, up), hidden))))


def split_heads(qkv: Tensor, num_heads: int, rotary: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """(T, 3 C), by head [q, k, v] -> q, k, v (T, H, D), q and k turned to their positions."""
    qkv_TH3D = qkv.view(qkv.shape[0], num_heads, 3, -1)
    if rotary is None:
        q, k, v = qkv_TH3D.unbind(2)
        return q, k, v
    return split_rotated(qkv_TH3D, rotary)


def reach_of(window: int | None) -> dict[str, int]:
    """What to ask of a backend: nothing at all without a window, for one that has none need not know the word."""
    return {} if window is None else {"window": window}


def select(keep: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The rows named by ``keep`` (M,), in its order; all of them when it is None."""
    return tensors if keep is None else tuple(tensor.index_select(0, keep) for tensor in tensors)


def make_norm(options: NeoBERT) -> nn.Module:
    """RMSNorm or LayerNorm over the hidden size, as the options say."""
    kind = RMSNorm if options.rms_norm else nn.LayerNorm
    return kind(options.hidden_size, eps=options.norm_eps)


def _make_feed_forward(options: NeoBERT) -> nn.Module:
    kind = SwiGLU if options.hidden_act == "swiglu" else GELU
    return kind(options.hidden_size, options.feed_forward_width)
