"""Attention by flex_attention: one compiled kernel over the stream that skips the blocks that nobody sees.

Dong et al., 2024 (arXiv:2412.05496). Shapes: T tokens in the stream, H heads, D head dim, R rows of blocks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from neobert_plugins.attention.block_mask import ordered, seen_blocks
from neobert_plugins.attention.kernel_inputs import for_kernel, narrow, refuse_dropout

if TYPE_CHECKING:
    from neobert import SequenceLayout

MOST_KERNELS = 64
"""Kernels in one process, at most: one for each padded length, dtype and scale. More is an error, not a slow path."""


class FlexAttend:
    """Masks are made once for a layout and window, and go when the layout goes."""

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self._masks: WeakKeyDictionary[SequenceLayout, dict[int | None, BlockMask]] = WeakKeyDictionary()

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        layout: SequenceLayout,
        *,
        scale: float,
        window: int | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        """q, k, v (T, H, D) -> (T, H, D)."""
        refuse_dropout(dropout_p, "flex")
        num_tokens = layout.num_tokens
        mask = self._mask(layout, narrow(window, layout), padded_length(num_tokens, self.block_size))
        missing = mask.seq_lengths[0] - num_tokens
        padded = (F.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x for x in for_kernel(q, k, v))
        q_1HTD, k_1HTD, v_1HTD = (x.transpose(0, 1)[None] for x in padded)
        with torch._dynamo.config.patch(recompile_limit=MOST_KERNELS):
            out_1HTD = _compiled()(q_1HTD, k_1HTD, v_1HTD, block_mask=mask, scale=scale)
        return out_1HTD[0].transpose(0, 1)[:num_tokens]

    def _mask(self, layout: SequenceLayout, window: int | None, length: int) -> BlockMask:
        masks = self._masks.setdefault(layout, {})
        if window not in masks:
            masks[window] = make_mask(layout, window, length, self.block_size)
        return masks[window]


def padded_length(num_tokens: int, block_size: int) -> int:
    """The next multiple of a quarter of the power of two above, in whole blocks.

    Kernels are compiled for one length each. So streams of any length, as there are without packing, need two kernels
    for each doubling; padding takes memory, and no attention.
    """
    step = max(block_size, (1 << (num_tokens - 1).bit_length()) // 4)
    return -(-num_tokens // step) * step


def make_mask(layout: SequenceLayout, window: int | None, length: int, block_size: int) -> BlockMask:
    """The mask over ``length`` tokens, of which those past the layout's see themselves. Asks the device nothing."""
    device = layout.position_ids.device
    blocks = seen_blocks(layout.lengths, window, block_size, length // block_size)
    partly, partly_where, wholly, wholly_where = (
        torch.from_numpy(array)[None, None].to(device, non_blocking=True)
        for seen in (blocks.partly, blocks.wholly)
        for array in ordered(seen)
    )
    origin_T = torch.arange(length, device=device)
    origin_T[: layout.num_tokens] -= layout.position_ids
    # A tensor, and not a number that each kernel would be compiled for.
    reach = torch.full((), length if window is None else window, device=device)
    return BlockMask.from_kv_blocks(
        partly,
        partly_where,
        wholly,
        wholly_where,
        BLOCK_SIZE=block_size,
        mask_mod=_same_sequence(origin_T, reach),
        seq_lengths=(length, length),
    )


def _same_sequence(origin_T: Tensor, reach: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """``origin_T`` is where each token's sequence begins. Holds no layout: the cache's keys must be free to go."""

    def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (origin_T[query] == origin_T[key]) & ((query - key).abs() <= reach)

    return seen


@functools.cache
def _compiled() -> Callable[..., Tensor]:
    """``fullgraph``: what cannot be compiled raises. Uncompiled, the whole (H, T, T) matrix would be made."""
    return torch.compile(flex_attention, dynamic=False, fullgraph=True)
