"""What weights say of the model that they belong to: in the words of its options, from a configuration and the tensors.

A configuration is that of published NeoBERT weights, of EuroBERT or UltraBERT, or the [model] table of a recipe.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import attrs
from attrs import field, frozen

from neobert_plugins.models.scaling import ONLY_YARN, Positions, RopeScaling

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

NATIVE = ("eurobert", "ultrabert")
_EPS = {"eurobert": 1e-5, "ultrabert": 1e-6}
"""``rms_norm_eps`` of a native configuration that does not name it."""
_KINDS = ("full_attention", "sliding_attention")
_BLOCK = re.compile(r"(?:transformer_encoder|layers)\.(\d+)\.")
_WIDTHS = {"ffn.w12": 2, "ffn.w1": 1, "ffn.0": 1, "c_fc": 2, "mlp.gate_proj": 1}
"""A feed-forward layer's first matrix, by its name in each layout -> how many widths of rows it has."""


@frozen(kw_only=True)
class Description:
    """As far as it is known."""

    values: dict[str, Any] = field(factory=dict)
    """Options by their names; ``vocab_size`` and ``num_key_value_heads`` too."""
    positions: Positions | None = None
    trained_length: int | None = None
    """Tokens of the longest sequence before any angles were stretched."""
    oddities: tuple[str, ...] = ()
    """What no option here can express."""


def described(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Description:
    """``config`` may be empty; what can be counted in the tensors is theirs to say. No ``model.`` before names."""
    values = dict(config)
    if "hidden_act" in values:
        act = str(values["hidden_act"]).lower()
        values["hidden_act"] = "swiglu" if act == "silu" else act
    for ours, theirs in {"max_position_embeddings": "max_length", "head_dim": "dim_head"}.items():
        if ours not in values and theirs in values:
            values[ours] = values[theirs]
    kind = config.get("model_type")
    if kind in NATIVE:
        eps = config.get("rms_norm_eps", _EPS[kind])
        values |= {"rms_norm": True, "rope": True, "ngpt": False, "norm_eps": eps}
        values["feed_forward_size"] = config.get("intermediate_size")
        rest = _native_positions(config)
    else:
        rest = _own_positions(config)
    values = {key: value for key, value in values.items() if value is not None} | measured(tensors)
    return attrs.evolve(rest, values=values)


def measured(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What shapes tell: not heads, activations or norms."""
    found: dict[str, Any] = {}
    embedding = tensors.get("encoder.weight", tensors.get("embed_tokens.weight"))
    if embedding is not None and embedding.dim() == 2:
        found["vocab_size"], found["hidden_size"] = embedding.shape
    blocks = [int(match.group(1)) for match in map(_BLOCK.match, tensors) if match]
    if blocks:
        found["num_hidden_layers"] = max(blocks) + 1
    for name, tensor in tensors.items():
        layer = _BLOCK.sub("", name).removesuffix(".weight")
        if layer in _WIDTHS and _BLOCK.match(name):
            found["feed_forward_size"] = len(tensor) // _WIDTHS[layer]
            break
    positions = tensors.get("positional_embedding.weight")
    if positions is not None:
        # Row 0 is for padding.
        found |= {"rope": False, "max_position_embeddings": len(positions) - 1}
    return found


def _own_positions(config: Mapping[str, Any]) -> Description:
    theta = config.get("rope_theta", 10000.0 if config.get("model_type") == "neobert" else None)
    if theta is None:
        return Description()
    said = config.get("rope_scaling") or {}
    scaling, odd = _scaling(said)
    keys = ("local_rope_theta", "global_every", "window")
    positions = Positions(rope_theta=theta, rope_scaling=scaling, **{key: config.get(key) for key in keys})
    longest = config.get("max_position_embeddings", config.get("max_length"))
    trained = longest if scaling is None else said.get("original_max_position_embeddings")
    return Description(positions=positions, trained_length=trained, oddities=odd)


def _native_positions(config: Mapping[str, Any]) -> Description:
    kinds = _kinds_of_blocks(config)
    full, sliding = _angles(config, kinds)
    scaling, odd = _scaling(full)
    every, window = None, None
    if "sliding_attention" in kinds:
        every, window = _every(kinds), config.get("sliding_window", 128)
    if every is None and window is not None:
        where = ", ".join(str(block) for block, kind in enumerate(kinds) if kind == "full_attention")
        odd = (*odd, f"a window of {window} in all blocks but {where}")
        window = None
    positions = Positions(
        rope_theta=full["rope_theta"],
        rope_scaling=scaling,
        local_rope_theta=sliding["rope_theta"] if every is not None and sliding != full else None,
        global_every=every,
        window=window,
    )
    longest = config.get("max_position_embeddings")
    trained = longest if scaling is None else full.get("original_max_position_embeddings")
    return Description(positions=positions, trained_length=trained, oddities=odd)


def _kinds_of_blocks(config: Mapping[str, Any]) -> list[str]:
    """UltraBERT's, in the three ways in which its configuration has them; EuroBERT's are all alike."""
    if config.get("model_type") != "ultrabert":
        return []
    if config.get("layer_types"):
        return list(config["layer_types"])
    windows = config.get("attention_windows") or [(block + 1) % 3 for block in range(config["num_hidden_layers"])]
    return [_KINDS[bool(window)] for window in windows]


def _angles(config: Mapping[str, Any], kinds: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of blocks that see everything and of those with a window. Older files have theta, or one a block, apart."""
    said = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    bases = config.get("rope_theta", 10000.0)
    found = []
    for kind in _KINDS:
        angles = dict(said.get(kind) or said)
        base = dict(zip(kinds, bases, strict=False)).get(kind, 10000.0) if isinstance(bases, list) else bases
        angles.setdefault("rope_theta", base)
        found.append(angles)
    return found[0], found[1]


def _scaling(angles: Mapping[str, Any]) -> tuple[RopeScaling | None, tuple[str, ...]]:
    """The options that make such angles, None where they are plain; and what no option makes."""
    kind = angles.get("rope_type", angles.get("type", "default"))
    if kind not in ("linear", "ntk", "yarn"):
        return None, () if kind == "default" else (f"rotary angles of the type {kind!r}",)
    if float(angles.get("factor") or 1.0) <= 1.0:
        return None, ()
    more = {key: angles[key] for key in ONLY_YARN if kind == "yarn" and angles.get(key) is not None}
    above, below = angles.get("mscale"), angles.get("mscale_all_dim")
    if kind == "yarn" and above and below and "attention_factor" not in more:
        # Another way to write it, from DeepSeek's configurations.
        terms = [0.1 * float(scale) * math.log(angles["factor"]) + 1.0 for scale in (above, below)]
        more["attention_factor"] = terms[0] / terms[1]
    # Only YaRN computes with the trained length, and a native linear configuration does not keep it.
    length = int(angles.get("original_max_position_embeddings") or 1)
    return RopeScaling(type=kind, factor=angles["factor"], original_max_position_embeddings=length, **more), ()


def _every(kinds: list[str]) -> int | None:
    """``global_every`` of a list of blocks; None where there is none that makes it."""
    full = [block for block, kind in enumerate(kinds) if kind == "full_attention"]
    every = full[1] if len(full) > 1 else max(2, len(kinds))
    return every if full == list(range(0, len(kinds), every)) else None
