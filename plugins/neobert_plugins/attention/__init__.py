"""Attention backends: what a token sees of its own sequence, computed over the token stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from neobert import BuildContext, Capabilities, hookimpl

if TYPE_CHECKING:
    from neobert.interfaces import AttentionBackend


@frozen(kw_only=True)
class SdpaAttention:
    """torch's scaled_dot_product_attention, one call for each run of equally long sequences; any device."""

    capabilities: ClassVar[Capabilities] = Capabilities(window=True, dropout=True)

    def build(self, context: BuildContext) -> AttentionBackend:
        from neobert_plugins.attention.sdpa import attend

        return attend


@frozen(kw_only=True)
class EagerAttention:
    """Plain softmax attention, one sequence at a time: the reference that others are compared with."""

    capabilities: ClassVar[Capabilities] = Capabilities(window=True, dropout=True)

    def build(self, context: BuildContext) -> AttentionBackend:
        from neobert_plugins.attention.eager import attend

        return attend


@hookimpl
def neobert_attn_backends() -> dict[str, type]:
    return {"eager": EagerAttention, "sdpa": SdpaAttention}
