"""Options and hook. Imported whenever plugins are listed, so torch is imported in `build` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import and_, ge, lt
from neobert import AttentionNeeds, BuildContext, Part, hookimpl, part

if TYPE_CHECKING:
    from neobert.interfaces import Encoder


@frozen(kw_only=True)
class PluginOptions:
    """An encoder in whose blocks attention and feed-forward work side by side, with rotary positions.

    x + attention(norm(x)) + feed_forward(norm(x)), as in GPT-J and PaLM (arXiv:2204.02311, section 2).
    """

    hidden_size: int = field(default=256, validator=ge(2), metadata={"help": "width of the hidden states"})
    num_hidden_layers: int = field(default=6, validator=ge(1), metadata={"help": "blocks"})
    num_attention_heads: int = field(default=4, validator=ge(1), metadata={"help": "divides hidden_size"})
    intermediate_size: int = field(default=1024, validator=ge(1), metadata={"help": "feed-forward width"})
    dropout_prob: float = field(
        default=0.0, validator=and_(ge(0.0), lt(1.0)), metadata={"help": "dropout on what a block adds"}
    )
    attn_backend: Part = part("attn_backend", default="sdpa", help="how attention is computed")

    def check(self, recipe: Any) -> list[str]:
        """What cannot work together, found by `--check` before any work."""
        if self.hidden_size % (2 * self.num_attention_heads) == 0:
            return []
        return [
            f"model.hidden_size = {self.hidden_size} is no multiple of 2 x model.num_attention_heads = "
            f"{self.num_attention_heads}: rotary positions turn pairs of a head's features"
        ]

    def attention_needs(self) -> AttentionNeeds:
        """What `--check` looks for in the backend's capabilities."""
        return AttentionNeeds(head_dim=self.hidden_size // self.num_attention_heads)

    def build(self, context: BuildContext) -> Encoder:
        """An ``nn.Module`` over the token stream."""
        from .encoder import ParallelEncoder

        return ParallelEncoder(self, context.vocab_size, self.attn_backend.build(context))


@hookimpl
def neobert_models() -> dict[str, type]:
    return {"plugin_name": PluginOptions}
