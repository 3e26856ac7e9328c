"""What cannot work together in the model's table, and keys that would do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from neobert_plugins.models.scaling import ONLY_YARN

if TYPE_CHECKING:
    from neobert_plugins.models import NeoBERT


def problems(options: NeoBERT) -> Iterator[str]:
    """A sentence each."""
    yield from _shapes(options)
    yield from _normalized(options)
    yield from _windows(options)
    yield from _scaling(options)


def _shapes(options: NeoBERT) -> Iterator[str]:
    heads = options.num_attention_heads
    if options.hidden_size % heads:
        yield f"hidden_size = {options.hidden_size} is no multiple of num_attention_heads = {heads}"
    elif options.rope and options.head_dim % 2:
        yield (
            f"rope rotates pairs, so a head needs an even width: hidden_size / num_attention_heads = {options.head_dim}"
        )


def _normalized(options: NeoBERT) -> Iterator[str]:
    if not options.ngpt:
        return
    if options.hidden_act != "swiglu":
        yield f"ngpt = true has a gated feed-forward of its own, not {options.hidden_act!r}"
    if not options.rms_norm:
        yield "ngpt = true has no norm layers; rms_norm = false asks for LayerNorm"


def _windows(options: NeoBERT) -> Iterator[str]:
    if options.window is not None and options.global_every is None:
        yield "window: has no effect without model.global_every, which says what blocks have it; set that too"
    if options.global_every is not None and options.window is None:
        yield "global_every: has no effect without model.window, the tokens seen on each side; set that too"
    if options.global_every is not None and options.num_hidden_layers == 1:
        yield "global_every: has no effect: num_hidden_layers = 1, and the first block sees everything"
    if options.local_rope_theta is not None:
        if not options.rope:
            yield "local_rope_theta: has no effect: rope is false"
        if options.global_every is None:
            yield "local_rope_theta: has no effect without model.global_every and model.window: no block is local"


def _scaling(options: NeoBERT) -> Iterator[str]:
    scaling = options.rope_scaling
    if scaling is None:
        return
    if not options.rope:
        yield "rope_scaling.type: has no effect: rope is false, and learned positions have no angles"
    if scaling.type != "yarn":
        for key in ONLY_YARN:
            if getattr(scaling, key) is not None:
                yield f'rope_scaling.{key}: has no effect: only type = "yarn" has it'
    elif options.rope_theta <= 1.0:
        yield 'rope_theta: type = "yarn" needs a base over 1'
    fast, slow = scaling.rotations
    if fast <= slow:
        yield f"rope_scaling.beta_fast: expected more than beta_slow, and {fast:g} is not over {slow:g}"
    if scaling.type == "ntk" and options.head_dim <= 2:
        yield "rope_scaling.type: ntk divides by head dim - 2, and hidden_size / num_attention_heads = 2"
    longest, original = options.max_position_embeddings, scaling.original_max_position_embeddings
    if scaling.reach < longest:
        yield (
            f"rope_scaling.factor: {scaling.factor:g} x {original} trained positions reach {scaling.reach}, and "
            f"max_position_embeddings = {longest} is over that: raise factor to {longest / original:g}, or lower "
            "max_position_embeddings"
        )
