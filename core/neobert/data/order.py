"""The order of the data: a seeded permutation that can be evaluated at any index, with no table and no state.

A Feistel network over an a x b grid with a * b just over N (Black and Rogaway 2002, "Ciphers with arbitrary
finite domains"): an index is a pair (left, right), and each round adds a keyed function of one half to the
other, modulo that half's size, which can be undone. The few results that are N or more are sent through again
until they land inside.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

import numpy as np

from neobert.seeding import derive_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDS = 16
"""Fewer leave some orders of six items likelier than others (chi-square over 36,000 keys)."""
_U64 = np.uint64
_FIRST = _U64(0x9E3779B97F4A7C15)
_STEPS = ((_U64(30), _U64(0xBF58476D1CE4E5B9)), (_U64(27), _U64(0x94D049BB133111EB)), (_U64(31), None))


def permute(indices: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Where a permutation of ``range(size)`` puts each index: O(1) time and memory an index.

    Raises ValueError for an index outside ``range(size)``.
    """
    values = np.asarray(indices, dtype=np.int64)
    if values.size and not (values.min() >= 0 and values.max() < size):
        msg = f"indices must be in 0..{size - 1}, got {values.min()}..{values.max()}"
        raise ValueError(msg)
    columns = max(1, isqrt(size - 1) + 1) if size > 1 else 1
    rows = -(-size // columns)
    round_keys = [_U64(derive_seed(key, "round", number)) for number in range(ROUNDS)]
    result = _rounds(values, columns, rows, round_keys)
    outside = np.flatnonzero(result >= size)
    while outside.size:
        walked = _rounds(result[outside], columns, rows, round_keys)
        result[outside] = walked
        outside = outside[walked >= size]
    return result


def shuffled(indices: NDArray[np.int64], size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Which of ``size`` items stand at these places of an epoch: f(seed, epoch, index)."""
    return permute(indices, size, derive_seed(seed, "order", epoch))


def _rounds(values: NDArray[np.int64], columns: int, rows: int, keys: list[np.uint64]) -> NDArray[np.int64]:
    left, right = np.divmod(values.astype(_U64), _U64(columns))
    mixed, spare = np.empty_like(left), np.empty_like(left)
    for number, key in enumerate(keys):
        half, other, size = (left, right, _U64(rows)) if number % 2 == 0 else (right, left, _U64(columns))
        _mix(other, key, mixed, spare)
        np.remainder(mixed, size, out=mixed)
        half += mixed
        # Both were under size: the sum modulo size without a division. What would go below 0 wraps around to more.
        np.subtract(half, size, out=spare)
        np.minimum(half, spare, out=half)
    result: NDArray[np.int64] = (left * _U64(columns) + right).astype(np.int64)
    return result


def _mix(half: NDArray[np.uint64], key: np.uint64, mixed: NDArray[np.uint64], spare: NDArray[np.uint64]) -> None:
    """A keyed 64-bit hash of each value, into ``mixed`` (two multiply-xorshift steps; arithmetic wraps around)."""
    np.add(half, key, out=mixed)
    mixed *= _FIRST
    for shift, factor in _STEPS:
        np.right_shift(mixed, shift, out=spare)
        mixed ^= spare
        if factor is not None:
            mixed *= factor
