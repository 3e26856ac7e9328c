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

ROUNDS, ROUNDS_OF_MANY = 16, 8
"""Fewer leave some orders of six items likelier than others (chi-square over 36,000 keys); where the halves are
larger, four rounds of good functions are enough in theory (Luby and Rackoff 1988)."""
_MANY = 4096
_U64 = np.uint64
_FACTORS = (_U64(0x9E3779B97F4A7C15), _U64(0xBF58476D1CE4E5B9), _U64(0x94D049BB133111EB))
_SHIFTS = (_U64(30), _U64(27))
_HIGH = _U64(32)


def permute(indices: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Where a permutation of ``range(size)`` puts each index: O(1) time and memory an index.

    Raises ValueError for an index outside ``range(size)``.
    """
    values = np.asarray(indices, dtype=np.int64)
    if values.size and not (values.min() >= 0 and values.max() < size):
        msg = f"indices must be in 0..{size - 1}, got {values.min()}..{values.max()}"
        raise ValueError(msg)
    columns, rows = _grid(size)
    rounds = ROUNDS if size < _MANY else ROUNDS_OF_MANY
    round_keys = [_U64(derive_seed(key, "round", number)) for number in range(rounds)]
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


def _grid(size: int) -> tuple[int, int]:
    """A nearly square grid of ``size`` places or just over: the fewer are over, the fewer have to go through again."""
    root = isqrt(size - 1) + 1 if size > 1 else 1
    columns = np.arange(root, root + min(root // 4, 1024) + 1)
    best = int(columns[np.argmin(-size % columns)])
    return best, -(-size // best)


def _rounds(values: NDArray[np.int64], columns: int, rows: int, keys: list[np.uint64]) -> NDArray[np.int64]:
    right = values.astype(_U64)
    left = right // _U64(columns)
    right -= left * _U64(columns)
    mixed, spare = np.empty_like(left), np.empty_like(left)
    for number, key in enumerate(keys):
        half, other, size = (left, right, _U64(rows)) if number % 2 == 0 else (right, left, _U64(columns))
        _draw(other, key, size, mixed, spare)
        half += mixed
        # Both were under size: the sum modulo size without a division. What would go below 0 wraps around to more.
        np.subtract(half, size, out=spare)
        np.minimum(half, spare, out=half)
    result: NDArray[np.int64] = (left * _U64(columns) + right).astype(np.int64)
    return result


def _draw(
    half: NDArray[np.uint64], key: np.uint64, size: np.uint64, drawn: NDArray[np.uint64], spare: NDArray[np.uint64]
) -> None:
    """A number under ``size`` for each value, into ``drawn``: a keyed 64-bit hash (multiply-xorshift; arithmetic
    wraps around), whose high half is scaled instead of divided (Lemire 2019, "Fast random integer generation in an
    interval"); ``size`` is the root of a number of items, so it is under 2 ** 32."""
    np.add(half, key, out=drawn)
    drawn *= _FACTORS[0]
    for shift, factor in zip(_SHIFTS, _FACTORS[1:], strict=True):
        np.right_shift(drawn, shift, out=spare)
        drawn ^= spare
        drawn *= factor
    drawn >>= _HIGH
    drawn *= size
    drawn >>= _HIGH
