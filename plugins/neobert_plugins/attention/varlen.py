"""Attention by torch's own flash kernels for sequences of any length, one call for the whole stream.

Shapes: T tokens in the stream, H heads, D head dim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from neobert_plugins.attention.kernel_inputs import for_kernel, narrow, refuse_dropout

if TYPE_CHECKING:
    from neobert import SequenceLayout
    from neobert.interfaces import AttentionBackend


def attend_with(kernel: Callable[..., Any]) -> AttentionBackend:
    """The backend over a function with the signature of ``torch.nn.attention.varlen.varlen_attn``."""

    def attend(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        layout: SequenceLayout,
        *,
        scale: float,
        window: int | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        """q, k, v (T, H, D) -> (T, H, D)."""
        refuse_dropout(dropout_p, "varlen")
        q, k, v = for_kernel(q, k, v)
        bounds, longest = layout.cu_seqlens, layout.max_seqlen
        side = narrow(window, layout)
        sides = (-1, -1) if side is None else (side, side)
        out: Tensor = kernel(q, k, v, bounds, bounds, longest, longest, scale=scale, window_size=sides)
        return out

    return attend
