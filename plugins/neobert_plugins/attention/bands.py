"""Which tokens of one sequence see each other when attention is local."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK, BLOCK_ELSEWHERE = 128, 1024
"""Queries that are computed together, at least, on a CPU and elsewhere: with fewer, starting the kernel costs more than
the keys that are saved. Measured on a CPU; a GPU is given more work at a time."""


def band_mask(length: int, window: int | None, device: torch.device) -> Tensor | None:
    """(L, L) bool, True where a token sees another: at most ``window`` tokens away on either side.

    None where every token sees every other.
    """
    if window is None or window >= length - 1:
        return None
    return _near(slice(0, length), slice(0, length), window, device)


def bands(length: int, window: int | None, device: torch.device) -> Iterator[tuple[slice, slice, Tensor | None]]:
    """A sequence's queries in blocks, the keys that any of a block's sees, and (Q, K) bool: who sees whom.

    Work and memory follow ``length * window`` in place of ``length ** 2``. Where every token sees every other there is
    one block, and None for the mask.
    """
    if window is None or window >= length - 1:
        yield slice(0, length), slice(0, length), None
        return
    size = max(BLOCK if device.type == "cpu" else BLOCK_ELSEWHERE, window)
    for start in range(0, length, size):
        queries = slice(start, min(start + size, length))
        keys = slice(max(0, queries.start - window), min(length, queries.stop + window))
        yield queries, keys, _near(queries, keys, window, device)


def _near(queries: slice, keys: slice, window: int, device: torch.device) -> Tensor:
    places, others = (torch.arange(part.start, part.stop, device=device) for part in (queries, keys))
    return (places[:, None] - others).abs() <= window
