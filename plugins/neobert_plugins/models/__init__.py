"""Encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from attrs import field, frozen
from attrs.validators import and_, ge, gt, lt, optional

from neobert import AttentionNeeds, BuildContext, Part, hookimpl, part
from neobert_plugins.models.checks import problems
from neobert_plugins.models.scaling import Positions, RopeScaling

if TYPE_CHECKING:
    from neobert.interfaces import Encoder

_positive = and_(gt(0.0), lt(float("inf")))


@frozen(kw_only=True)
class NeoBERT:
    """NeoBERT: pre-norm blocks with rotary positions and gated feed-forward layers, over the token stream.

    Le Breton et al., 2025 (arXiv:2502.19587). ``ngpt`` is its normalised variant, after
    Loshchilov et al., 2024 (arXiv:2410.01131).
    """

    hidden_size: int = field(default=768, validator=ge(1), metadata={"help": "width of the hidden states"})
    num_hidden_layers: int = field(default=28, validator=ge(1), metadata={"help": "blocks"})
    num_attention_heads: int = field(default=12, validator=ge(1), metadata={"help": "divides hidden_size"})
    intermediate_size: int = field(
        default=3072,
        validator=ge(1),
        metadata={"help": "feed-forward width; swiglu takes 8 * ceil(int(2/3 of it) / 8)"},
    )
    feed_forward_size: int | None = field(
        default=None, validator=optional(ge(1)), metadata={"help": "the feed-forward width outright"}
    )
    rms_norm: bool = field(default=True, metadata={"help": "RMSNorm; false is LayerNorm"})
    norm_eps: float = field(default=1e-5, validator=_positive, metadata={"help": "added under a norm's root"})
    hidden_act: Literal["swiglu", "gelu"] = field(default="swiglu", metadata={"help": "the activation"})
    rope: bool = field(default=True, metadata={"help": "rotary positions; false learns a vector a position"})
    rope_theta: float = field(default=10000.0, validator=_positive, metadata={"help": "base of rotary angles"})
    rope_scaling: RopeScaling | None = field(
        default=None, metadata={"help": "stretches the angles for sequences longer than the weights have seen"}
    )
    local_rope_theta: float | None = field(
        default=None,
        validator=optional(_positive),
        metadata={"help": "base in blocks with a window, never stretched; unset: angles as in all blocks"},
    )
    max_position_embeddings: int = field(
        default=4096, validator=ge(1), metadata={"help": "tokens of the longest sequence"}
    )
    global_every: int | None = field(
        default=None,
        validator=optional(ge(2)),
        metadata={"help": "with window: every so manieth block, beginning with the first, sees the whole sequence"},
    )
    window: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={"help": "with global_every: tokens that all other blocks see on each side"},
    )
    dropout_prob: float = field(
        default=0.0,
        validator=and_(ge(0.0), lt(1.0)),
        metadata={"help": "dropout on attention shares and on what each half of a block adds"},
    )
    embedding_init_range: float = field(
        default=0.02, validator=_positive, metadata={"help": "embeddings start uniform in plus or minus this"}
    )
    decoder_init_range: float = field(
        default=0.02,
        validator=_positive,
        metadata={"help": "matrices, an untied head's too, start uniform in plus or minus this"},
    )
    ngpt: bool = field(default=False, metadata={"help": "the normalised variant: hidden states on the unit sphere"})
    base_scale: float = field(
        default=960.0**-0.5,
        validator=_positive,
        metadata={"help": "ngpt: how the learned scales are stored, which sets the pace they learn at"},
    )
    tie_word_embeddings: bool = field(default=True, metadata={"help": "the head uses the embedding's weights"})
    decoder_bias: bool = field(default=False, metadata={"help": "the head adds a bias for each token"})
    attn_backend: Part = part("attn_backend", default="sdpa", help="how attention is computed")

    @property
    def head_dim(self) -> int:
        """D."""
        return self.hidden_size // self.num_attention_heads

    @property
    def feed_forward_width(self) -> int:
        """Inner width of the feed-forward layers."""
        if self.feed_forward_size is not None:
            return self.feed_forward_size
        if self.ngpt or self.hidden_act == "gelu":
            return self.intermediate_size
        return -(-int(2 * self.intermediate_size / 3) // 8) * 8

    @property
    def positions(self) -> Positions:
        """How far each block sees, and how its angles are made."""
        return Positions(
            rope_theta=self.rope_theta,
            rope_scaling=self.rope_scaling,
            local_rope_theta=self.local_rope_theta,
            global_every=self.global_every,
            window=self.window,
        )

    def check(self, recipe: Any) -> list[str]:
        """What cannot work together, found before any work."""
        found = list(problems(self))
        longest = recipe.dataset.max_seq_length
        if longest > self.max_position_embeddings:
            found.append(
                f"dataset.max_seq_length = {longest} is over model.max_position_embeddings = "
                f"{self.max_position_embeddings}: lower the one or raise the other"
            )
        return found

    def attention_needs(self) -> AttentionNeeds:
        """What `--check` looks for in the backend's capabilities."""
        return AttentionNeeds(window=self.window, dropout_p=self.dropout_prob, head_dim=self.head_dim)

    def build(self, context: BuildContext) -> Encoder:
        from neobert_plugins.models.encoder import NeoBERTEncoder

        # Two properties where the protocol has attributes: a difference to type checkers alone.
        return cast("Encoder", NeoBERTEncoder(self, context.vocab_size, self.attn_backend.build(context)))


@hookimpl
def neobert_models() -> dict[str, type]:
    return {"neobert": NeoBERT}
