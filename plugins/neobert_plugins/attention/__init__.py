"""Attention backends: what a token sees of its own sequence, computed over the token stream."""

from __future__ import annotations

from neobert import hookimpl
from neobert_plugins.attention.auto import AutoAttention
from neobert_plugins.attention.options import (
    EagerAttention,
    FlashAttention,
    FlashAttention3,
    FlashAttention4,
    FlexAttention,
    SdpaAttention,
    VarlenAttention,
)


@hookimpl
def neobert_attn_backends() -> dict[str, type]:
    return {
        "auto": AutoAttention,
        "eager": EagerAttention,
        "flash_attn_varlen": FlashAttention,
        "flash_attn_3_varlen": FlashAttention3,
        "flash_attn_4_varlen": FlashAttention4,
        "flex": FlexAttention,
        "sdpa": SdpaAttention,
        "varlen": VarlenAttention,
    }
