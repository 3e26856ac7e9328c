"""How an encoder is written for others: as a native architecture where one computes the same, else as published.

EuroBERT is the native one; UltraBERT is the same with blocks that have a window.

Shapes: H heads, D head dim, C hidden size.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from neobert_plugins.models import NeoBERT
    from neobert_plugins.models.scaling import Rotation

Exported = tuple[dict[str, Any], "dict[str, Tensor]"]

NATIVE_NORMS = {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
"""Our name of a block's norm -> EuroBERT's."""
ONLY_WHERE_SET = ("rope_scaling", "local_rope_theta", "global_every", "window")
"""Keys that the published configuration has only where a recipe has them."""


def native_obstacles(options: NeoBERT) -> tuple[str, ...]:
    """What no native architecture can express; empty when one can express all of it."""
    windows = options.global_every is not None
    reasons = {
        "ngpt = true": options.ngpt,
        "hidden_act = 'gelu'": options.hidden_act == "gelu",
        "rms_norm = false": not options.rms_norm,
        "rope = false": not options.rope,
        "decoder_bias = true": options.decoder_bias,
        f"global_every = {options.global_every}: this transformers has no UltraBERT": windows and not _has_ultrabert(),
    }
    return tuple(reason for reason, holds in reasons.items() if holds)


def export_native(options: NeoBERT, vocab_size: int, state: Mapping[str, Tensor]) -> Exported:
    """EuroBERT's configuration and tensors, without the prefix ``model.``; UltraBERT's where blocks have a window."""
    tensors = {"embed_tokens.weight": state["encoder.weight"], "norm.weight": state["layer_norm.weight"]}
    for index in range(options.num_hidden_layers):
        tensors |= _native_block(options, state, f"transformer_encoder.{index}.", f"layers.{index}.")
    config = {
        "model_type": "eurobert",
        "architectures": ["EuroBertForMaskedLM"],
        "vocab_size": vocab_size,
        "hidden_size": options.hidden_size,
        "intermediate_size": options.feed_forward_width,
        "num_hidden_layers": options.num_hidden_layers,
        "num_attention_heads": options.num_attention_heads,
        "num_key_value_heads": options.num_attention_heads,
        "head_dim": options.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": options.max_position_embeddings,
        "initializer_range": options.decoder_init_range,
        "rms_norm_eps": options.norm_eps,
        "rope_parameters": _rope_parameters(options.positions.rotation_of(0), options.head_dim),
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": options.tie_word_embeddings,
        "dtype": _dtype(state),
    }
    return config if options.global_every is None else config | _with_windows(options), tensors


def export_published(options: NeoBERT, vocab_size: int, state: Mapping[str, Tensor]) -> Exported:
    """The published NeoBERT configuration and tensors, without the prefix ``model.``; names are our own."""
    config = {
        "model_type": "neobert",
        "architectures": ["NeoBERTLMHead"],
        "vocab_size": vocab_size,
        "hidden_size": options.hidden_size,
        "num_hidden_layers": options.num_hidden_layers,
        "num_attention_heads": options.num_attention_heads,
        "dim_head": options.head_dim,
        "intermediate_size": options.intermediate_size,
        "feed_forward_size": options.feed_forward_width,
        "hidden_act": options.hidden_act,
        "rms_norm": options.rms_norm,
        "norm_eps": options.norm_eps,
        "rope": options.rope,
        "rope_theta": options.rope_theta,
        "max_length": options.max_position_embeddings,
        "dropout": options.dropout_prob,
        "embedding_init_range": options.embedding_init_range,
        "decoder_init_range": options.decoder_init_range,
        "ngpt": options.ngpt,
        "base_scale": options.base_scale,
        "tie_word_embeddings": options.tie_word_embeddings,
        "decoder_bias": options.decoder_bias,
        "dtype": _dtype(state),
    }
    return config | _where_set(options), dict(state)


def _with_windows(options: NeoBERT) -> dict[str, Any]:
    """What UltraBERT's configuration has otherwise. Its head for masked tokens is another than ours."""
    positions = options.positions
    windows = [positions.window_of(block) for block in range(options.num_hidden_layers)]
    first, second = (_rope_parameters(positions.rotation_of(block), options.head_dim) for block in (0, 1))
    angles: dict[str, Any] = {"full_attention": first, "sliding_attention": second}
    if first.get("truncate") is False:
        # Where transformers 5.23 looks for it, whatever the kind of block.
        angles["truncate"] = False
    return {
        "model_type": "ultrabert",
        "architectures": ["UltrabertModel"],
        "sliding_window": options.window,
        "layer_types": ["full_attention" if window is None else "sliding_attention" for window in windows],
        "rope_parameters": angles,
    }


def _rope_parameters(rotation: Rotation, head_dim: int) -> dict[str, Any]:
    """Angles in the words of transformers, every number written out; a larger base is a base."""
    scaling = rotation.scaling
    said = {"rope_type": "default", "rope_theta": rotation.base(head_dim)}
    if scaling is None or scaling.type == "ntk":
        return said
    said |= {"rope_type": scaling.type, "factor": scaling.factor}
    if scaling.type == "linear":
        return said
    fast, slow = scaling.rotations
    return said | {
        "original_max_position_embeddings": scaling.original_max_position_embeddings,
        "beta_fast": fast,
        "beta_slow": slow,
        "truncate": scaling.whole_pairs,
        "attention_factor": scaling.on_q_and_k,
    }


def _where_set(options: NeoBERT) -> dict[str, Any]:
    values = {key: getattr(options, key) for key in ONLY_WHERE_SET}
    if options.rope_scaling is not None:
        values["rope_scaling"] = attrs.asdict(options.rope_scaling, filter=lambda _, value: value is not None)
    return {key: value for key, value in values.items() if value is not None}


def _has_ultrabert() -> bool:
    return find_spec("transformers.models.ultrabert") is not None


def halves_from_pairs(rows_HDC: Tensor) -> Tensor:
    """(H, D, C): rows of neighbouring rotary pairs -> all first members, then all second ones."""
    heads, width, hidden = rows_HDC.shape
    return rows_HDC.reshape(heads, width // 2, 2, hidden).transpose(1, 2).reshape(heads, width, hidden)


def pairs_from_halves(rows_HDC: Tensor) -> Tensor:
    """The inverse of `halves_from_pairs`."""
    heads, width, hidden = rows_HDC.shape
    return rows_HDC.reshape(heads, 2, width // 2, hidden).transpose(1, 2).reshape(heads, width, hidden)


def _native_block(options: NeoBERT, state: Mapping[str, Tensor], ours: str, theirs: str) -> dict[str, Tensor]:
    heads, width, hidden = options.num_attention_heads, options.head_dim, options.hidden_size
    q_HDC, k_HDC, v_HDC = state[f"{ours}qkv.weight"].view(heads, 3, width, hidden).unbind(1)
    gate, up = state[f"{ours}ffn.w12.weight"].chunk(2)
    tensors = {
        "self_attn.q_proj": halves_from_pairs(q_HDC).flatten(0, 1),
        "self_attn.k_proj": halves_from_pairs(k_HDC).flatten(0, 1),
        "self_attn.v_proj": v_HDC.flatten(0, 1),
        "self_attn.o_proj": state[f"{ours}wo.weight"],
        "mlp.gate_proj": gate,
        "mlp.up_proj": up,
        "mlp.down_proj": state[f"{ours}ffn.w3.weight"],
        **{name: state[f"{ours}{norm}.weight"] for norm, name in NATIVE_NORMS.items()},
    }
    return {f"{theirs}{name}.weight": tensor for name, tensor in tensors.items()}


def _dtype(state: Mapping[str, Tensor]) -> str:
    return str(state["encoder.weight"].dtype).removeprefix("torch.")
