"""Which blocks of a stream's attention matrix are seen, worked out on the host from the lengths alone.

R rows of blocks, as many columns; block (r, c) has the queries of block r and the keys of block c.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray


@frozen(eq=False)
class SeenBlocks:
    """(R, R) bool each; no block is in both."""

    partly: NDArray[np.bool_]
    """Some of the block's queries see some of its keys: a mask decides inside."""
    wholly: NDArray[np.bool_]
    """Every query sees every key."""


def seen_blocks(lengths: tuple[int, ...], window: int | None, block_size: int, num_rows: int) -> SeenBlocks:
    """The blocks of sequences that follow each other; rows past their end see themselves.

    Both ends of what a token sees never move back from one token to the next, and each token sees itself: so what the
    queries of a block see together is one stretch of keys, from the first one's lower end to the last one's upper
    end; and what each of them sees, from the last one's lower to the first one's upper.
    """
    lower, upper = _reach(lengths, window)
    num_tokens = len(lower)
    starts = np.arange(num_rows) * block_size
    first = np.minimum(starts, num_tokens - 1)
    last = np.minimum(starts + block_size, num_tokens) - 1
    keys_from, keys_to = starts[None], starts[None] + block_size
    touched = (keys_from < upper[last][:, None]) & (keys_to > lower[first][:, None])
    wholly = (keys_from >= lower[last][:, None]) & (keys_to <= upper[first][:, None])
    past_end = (starts >= num_tokens)[:, None]
    itself = np.eye(num_rows, dtype=bool)
    return SeenBlocks(np.where(past_end, itself, touched & ~wholly), touched & wholly & ~past_end)


def ordered(seen: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(R, R) -> how many columns each row has (R,), and all columns (R, R), those that it has in front."""
    columns = np.argsort(~seen, axis=1, kind="stable")
    return seen.sum(1, dtype=np.int32), columns.astype(np.int32)


def _reach(lengths: tuple[int, ...], window: int | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(T,) each: the first token that a token sees, and the one after the last."""
    sizes = np.asarray(lengths)
    ends = np.cumsum(sizes)
    lower, upper = np.repeat(ends - sizes, sizes), np.repeat(ends, sizes)
    if window is None:
        return lower, upper
    places = np.arange(len(lower))
    return np.maximum(lower, places - window), np.minimum(upper, places + window + 1)
