"""Losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from neobert import BuildContext, hookimpl

if TYPE_CHECKING:
    from neobert.interfaces import Loss


@frozen(kw_only=True)
class MaskedLM:
    """Cross-entropy of the masked tokens; only their hidden states are projected onto the vocabulary."""

    def build(self, context: BuildContext) -> Loss:
        from neobert_plugins.losses.masked_lm import MaskedLMLoss

        return MaskedLMLoss(context.encoder)


@frozen(kw_only=True)
class FullLogitsLM:
    """The same loss from logits of every token: an ablation, and the slow way."""

    def build(self, context: BuildContext) -> Loss:
        from neobert_plugins.losses.full_logits_lm import FullLogitsLMLoss

        return FullLogitsLMLoss(context.encoder)


@hookimpl
def neobert_losses() -> dict[str, type]:
    return {"full_logits_lm": FullLogitsLM, "masked_lm": MaskedLM}
