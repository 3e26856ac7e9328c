"""Options and hook. Imported whenever plugins are listed, so torch is imported in `build` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen
from attrs.validators import gt
from neobert import BuildContext, Capabilities, hookimpl

if TYPE_CHECKING:
    from neobert.interfaces import AttentionBackend


@frozen(kw_only=True)
class PluginOptions:
    """Attention whose scores are capped smoothly, so that none of them grows without bound.

    cap * tanh(scores / cap), as in Gemma 2 (arXiv:2408.00118, section 2).
    """

    # exact=False: this is not plain softmax attention, and exports say so.
    capabilities: ClassVar[Capabilities] = Capabilities(window=True, exact=False)

    cap: float = field(default=50.0, validator=gt(0.0), metadata={"help": "scores stay between minus this and this"})

    def build(self, context: BuildContext) -> AttentionBackend:
        """A callable over the token stream."""
        from .attention import CappedAttention

        return CappedAttention(self.cap)


@hookimpl
def neobert_attn_backends() -> dict[str, type]:
    return {"plugin_name": PluginOptions}
