"""Reads foreign layouts into the encoder's own: published NeoBERT weights, and EuroBERT's.

Whatever a layout here doesn't know keeps its name, and the caller refuses it.

Shapes: H heads, D head dim, C hidden size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from neobert_plugins.models.comparison import compare
from neobert_plugins.models.descriptions import described
from neobert_plugins.models.layouts import NATIVE_NORMS, pairs_from_halves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from neobert_plugins.models import NeoBERT

BODY_PREFIX = "model."
HEADS = ("decoder.", "lm_head.")
"""What stands before the head's ``weight`` and ``bias``: in NeoBERT's layout, and in EuroBERT's."""
UNUSED_BY_NGPT = ("sz", "layer_norm.weight", "layer_norm.bias")
"""Parameters of the published normalised model that its forward pass never reads."""

Imported = tuple["dict[str, Tensor]", "dict[str, Tensor]", list[str]]


def import_weights(
    options: NeoBERT, vocab_size: int, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> Imported:
    """See `NeoBERTEncoder.import_weights`."""
    rest = dict(tensors)
    head = {
        name.removeprefix(prefix): rest.pop(name)
        for name in tensors
        for prefix in HEADS
        if name in (f"{prefix}weight", f"{prefix}bias")
    }
    if any(name.startswith(BODY_PREFIX) for name in rest):
        rest = {name.removeprefix(BODY_PREFIX): tensor for name, tensor in rest.items()}
    # Without values, weights are looked at before there is a tokenizer: the embedding's rows are made up then.
    known = not any(tensor.is_meta for tensor in tensors.values())
    notes = compare(options, vocab_size if known else None, described(config, rest))
    if "embed_tokens.weight" in rest:
        return _from_native(options, rest), head, ["EuroBERT layout", *notes]
    if options.ngpt:
        unused = [name for name in UNUSED_BY_NGPT if rest.pop(name, None) is not None]
        notes += [f"without {', '.join(unused)}, which the normalised model never reads"] if unused else []
    notes += _grow_positions(options, rest)
    return _fused(options, rest), head, ["NeoBERT layout", *notes]


def _grow_positions(options: NeoBERT, tensors: dict[str, Tensor]) -> list[str]:
    """Learned positions are a vector each: those that are wanting are the known ones once more, from the first on.

    As Longformer was made from RoBERTa (Beltagy et al., 2020, arXiv:2004.05150, section 5). Row 0 is for padding.
    """
    table = tensors.get("positional_embedding.weight")
    if options.rope or table is None or len(table) > options.max_position_embeddings:
        return []
    known, wanted = len(table) - 1, options.max_position_embeddings
    rows = torch.arange(wanted) % known
    tensors["positional_embedding.weight"] = torch.cat((table[:1], table[1:][rows]))
    return [f"{known} learned positions there, {wanted} here: the others are copies of them, from the first on"]


def _fused(options: NeoBERT, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published names are our own, but for feed-forward layers whose gate (w1) and up (w2) stand apart."""
    for index in range(options.num_hidden_layers):
        ffn = f"transformer_encoder.{index}.ffn."
        apart = [f"{ffn}w1.weight", f"{ffn}w2.weight"]
        if all(name in tensors for name in apart):
            tensors[f"{ffn}w12.weight"] = torch.cat([tensors.pop(name) for name in apart])
    return tensors


def _from_native(options: NeoBERT, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    names = {"embed_tokens.weight": "encoder.weight", "norm.weight": "layer_norm.weight"}
    for index in range(options.num_hidden_layers):
        theirs, ours = f"layers.{index}.", f"transformer_encoder.{index}."
        _join_projections(options, tensors, theirs, ours)
        names |= {f"{theirs}{name}.weight": f"{ours}{norm}.weight" for norm, name in NATIVE_NORMS.items()}
        names[f"{theirs}self_attn.o_proj.weight"] = f"{ours}wo.weight"
        names[f"{theirs}mlp.down_proj.weight"] = f"{ours}ffn.w3.weight"
    return {names.get(name, name): tensor for name, tensor in tensors.items()}


def _join_projections(options: NeoBERT, tensors: dict[str, Tensor], theirs: str, ours: str) -> None:
    """Joins q, k, v and gate, up. Where one of them is missing or misshapen, all stay as they are."""
    qkv = [f"{theirs}self_attn.{name}_proj.weight" for name in "qkv"]
    square = (options.hidden_size, options.hidden_size)
    if all(name in tensors and tensors[name].shape == square for name in qkv):
        shape = (options.num_attention_heads, options.head_dim, options.hidden_size)
        q_HDC, k_HDC, v_HDC = (tensors.pop(name).reshape(shape) for name in qkv)
        rows = torch.stack((pairs_from_halves(q_HDC), pairs_from_halves(k_HDC), v_HDC), dim=1)
        tensors[f"{ours}qkv.weight"] = rows.flatten(0, 2)
    gates = [f"{theirs}mlp.{name}_proj.weight" for name in ("gate", "up")]
    if all(name in tensors for name in gates):
        tensors[f"{ours}ffn.w12.weight"] = torch.cat([tensors.pop(name) for name in gates])
