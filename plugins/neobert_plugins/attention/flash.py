"""Attention by the flash-attn packages, one call for the whole stream.

Dao et al., 2022 (arXiv:2205.14135); Dao, 2023 (arXiv:2307.08691); Shah et al., 2024 (arXiv:2407.08608).

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


def attend_with(kernel: Callable[..., Any], *, deterministic: bool, dropout: bool) -> AttentionBackend:
    """The backend over a function with the signature of one generation's ``flash_attn_varlen_func``.

    The generations share the keywords used here. They differ in what "no window" is, so it is left out; in
    ``dropout_p``, which only the second takes (``dropout``); and in whether the output comes alone or in a tuple.
    """

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
        more: dict[str, Any] = dict.fromkeys(("cu_seqlens_q", "cu_seqlens_k"), layout.cu_seqlens)
        more |= dict.fromkeys(("max_seqlen_q", "max_seqlen_k"), layout.max_seqlen)
        if dropout:
            more["dropout_p"] = dropout_p
        else:
            refuse_dropout(dropout_p, "this generation of flash attention")
        side = narrow(window, layout)
        if side is not None:
            more["window_size"] = (side, side)
        answer = kernel(*for_kernel(q, k, v), softmax_scale=scale, deterministic=deterministic, **more)
        out: Tensor = answer[0] if isinstance(answer, tuple) else answer
        return out

    return attend
