"""Compares what weights say of their model with a recipe's [model]: what cannot be is refused, what differs is said."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from neobert import UserError
from neobert_plugins.models.frequencies import frequencies

if TYPE_CHECKING:
    from neobert_plugins.models import NeoBERT
    from neobert_plugins.models.descriptions import Description
    from neobert_plugins.models.scaling import Positions, RopeScaling, Rotation

SHAPES = ("hidden_size", "num_hidden_layers", "num_attention_heads")
FIXED = (*SHAPES, "hidden_act", "rms_norm", "rope", "ngpt")
"""Tensors of one shape fit models that compute differently: shapes know no heads, activations or norms."""
FREE = ("norm_eps", "base_scale")


def compare(options: NeoBERT, vocab_size: int | None, theirs: Description) -> list[str]:
    """Notes on what differs and may; raises UserError with every difference of a kind that may not.

    ``vocab_size`` is None where there is no tokenizer yet.
    """
    wrong = [*_wrong(options, theirs.values)]
    if wrong:
        # Alone, it is told where rows are counted, by who knows the tokenizer.
        wrong += _vocabulary(vocab_size, theirs.values)
        msg = "\n  ".join(("the weights do not fit this recipe's [model]:", *wrong))
        raise UserError(msg)
    return [*_free(options, theirs.values), *_of_positions(options, theirs)]


def _wrong(options: NeoBERT, theirs: dict[str, Any]) -> Iterator[str]:
    for key in FIXED:
        if key in theirs and theirs[key] != getattr(options, key):
            yield f"{key} = {_text(theirs[key])} there, {_text(getattr(options, key))} in this recipe"
    width = theirs.get("feed_forward_size", options.feed_forward_width)
    if width != options.feed_forward_width:
        named = options.feed_forward_size is not None
        comes_from = "" if named else f", from intermediate_size = {options.intermediate_size}"
        yield f"feed_forward_size = {width} there, {options.feed_forward_width} in this recipe{comes_from}"
    same_heads = all(theirs.get(key) == getattr(options, key) for key in ("hidden_size", "num_attention_heads"))
    if same_heads and theirs.get("head_dim", options.head_dim) != options.head_dim:
        yield f"a head is {theirs['head_dim']} wide there, {options.head_dim} here: hidden_size / num_attention_heads"
    shared = theirs.get("num_key_value_heads")
    if shared is not None and shared != theirs.get("num_attention_heads"):
        yield f"num_key_value_heads = {shared} there: here every head has a key and a value of its own"
    longest = theirs.get("max_position_embeddings", 0)
    if longest > options.max_position_embeddings:
        yield (
            f"max_position_embeddings = {longest} there, {options.max_position_embeddings} in this recipe: raise it, "
            "or the context that the weights have is cut (dataset.max_seq_length may be shorter)"
        )


def _vocabulary(vocab_size: int | None, theirs: dict[str, Any]) -> Iterator[str]:
    there = theirs.get("vocab_size")
    if vocab_size is None or there in (None, vocab_size):
        return
    padding = ", which is no fault where the rest is padding beyond the tokenizer" if there < vocab_size else ""
    yield f"{there} vocabulary entries there, {vocab_size} in this recipe, by its tokenizer{padding}"


def _free(options: NeoBERT, theirs: dict[str, Any]) -> Iterator[str]:
    for key in FREE:
        if key in theirs and theirs[key] != getattr(options, key):
            yield f"{key} = {getattr(options, key):g} where the weights had {theirs[key]:g}"


def _of_positions(options: NeoBERT, theirs: Description) -> Iterator[str]:
    if theirs.positions is None:
        return
    yield from (f"the weights had {oddity}, which this model has not" for oddity in theirs.oddities)
    ours, before = options.positions, theirs.positions
    blocks = range(options.num_hidden_layers)
    if any(ours.window_of(block) != before.window_of(block) for block in blocks):
        for key in ("global_every", "window"):
            if getattr(ours, key) != getattr(before, key):
                yield _changed(key, getattr(ours, key), getattr(before, key))
    if options.rope:
        yield from _of_angles(options, theirs, before)


def _of_angles(options: NeoBERT, theirs: Description, before: Positions) -> Iterator[str]:
    ours, otherwise = options.positions, _turns_otherwise(options, before)
    if otherwise and ours.rope_theta != before.rope_theta:
        yield _changed("rope_theta", ours.rope_theta, before.rope_theta)
    if otherwise and ours.rope_scaling != before.rope_scaling:
        yield _changed("rope_scaling", _in_words(ours.rope_scaling), _in_words(before.rope_scaling))
    if otherwise and ours.local_rope_theta != before.local_rope_theta:
        yield _changed("local_rope_theta", ours.local_rope_theta, before.local_rope_theta)
    # The same angles without any scaling: a native configuration of ``ntk``, which keeps no trained length.
    known = otherwise or before.rope_scaling is not None
    scaling, trained = ours.rope_scaling, theirs.trained_length
    if scaling is not None and trained is not None and known and scaling.original_max_position_embeddings != trained:
        own = "original_max_position_embeddings" if before.rope_scaling is not None else "max_position_embeddings"
        said = scaling.original_max_position_embeddings
        yield f"rope_scaling.original_max_position_embeddings = {said} where the weights had {own} = {trained}"


def _turns_otherwise(options: NeoBERT, before: Positions) -> bool:
    """Whether any block's angles differ: the same ones may be written in several ways."""
    blocks = range(options.num_hidden_layers)
    pairs = {(options.positions.rotation_of(block), before.rotation_of(block)) for block in blocks}
    return not all(_alike(*pair, options.head_dim) for pair in pairs)


def _alike(one: Rotation, other: Rotation, head_dim: int) -> bool:
    numbers = zip(_numbers(one, head_dim), _numbers(other, head_dim), strict=True)
    return all(math.isclose(ours, theirs, rel_tol=1e-9) for ours, theirs in numbers)


def _numbers(rotation: Rotation, head_dim: int) -> list[float]:
    """All that a rotation computes with."""
    speeds = frequencies(rotation, head_dim, torch.float64, torch.device("cpu"))
    return [*speeds.tolist(), rotation.attention_factor]


def _changed(key: str, ours: object, theirs: object) -> str:
    return f"{key} = {_text(ours)} where the weights had {_text(theirs)}"


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _in_words(scaling: RopeScaling | None) -> str:
    if scaling is None:
        return "none"
    text = f"{scaling.type} by {scaling.factor:g}"
    if scaling.type != "yarn":
        return text
    fast, slow = scaling.rotations
    return (
        f"{text} from {scaling.original_max_position_embeddings} (beta {fast:g} and {slow:g}, "
        f"attention {scaling.on_q_and_k:.4g})"
    )
