"""Sums over rows of a matrix that is never whole: each row of queries against all candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

BLOCK_SCORES = 1 << 23
"""Scores held at once: 32 MiB of float32, a few times over."""


def sum_in_blocks(
    function: Callable[..., tuple[Tensor, ...]],
    rows: Sequence[Tensor],
    columns: int,
    *,
    block_scores: int = BLOCK_SCORES,
) -> tuple[Tensor, ...]:
    """The sums of what ``function(*rows)``, a tuple of scalars, gives for blocks of rows, which draws nothing.

    ``rows`` are tensors with one first dimension, R; ``columns`` is how many scores a row has. Where R times that is
    more than ``block_scores``, blocks are computed one at a time, and once more in the backward pass.
    """
    count = len(rows[0])
    size = max(1, block_scores // max(1, columns))
    if count <= size:
        return function(*rows)
    run = function
    if torch.is_grad_enabled():
        run = partial(checkpoint, function, use_reentrant=False, preserve_rng_state=False)
    sums = [run(*block) for block in zip(*(torch.split(tensor, size) for tensor in rows), strict=True)]
    return tuple(torch.stack(parts).sum(0) for parts in zip(*sums, strict=True))
