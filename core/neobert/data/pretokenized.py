"""Datasets that hold token ids already, used as they are on disk."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from neobert.data.sequences import SpecialTokens
from neobert.errors import UserError

_LOOKED_AT = 1000
_ROWS = 10_000


@frozen(eq=False)
class ArrowDocuments:
    """The ``input_ids`` column of a ``datasets.Dataset``. Special tokens around the rows are left out when read."""

    rows: Any
    special: SpecialTokens = field(factory=SpecialTokens)
    """Those that every row already carries: not counted in lengths."""
    fingerprint: str = field(default="")
    lengths: NDArray[np.int32] = field(init=False, repr=False)
    _chunks: tuple[tuple[NDArray[Any], NDArray[Any]], ...] = field(init=False, repr=False)
    _first_rows: NDArray[np.int64] = field(init=False, repr=False)
    _indices: NDArray[np.int64] | None = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        column = self.rows.data.column("input_ids").combine_chunks()
        chunks = column.chunks if hasattr(column, "chunks") else [column]
        arrays = tuple(
            (chunk.values.to_numpy(zero_copy_only=False), chunk.offsets.to_numpy(zero_copy_only=False))
            for chunk in chunks
        )
        sizes = [len(offsets) - 1 for _, offsets in arrays]
        stored = np.concatenate([np.diff(offsets) for _, offsets in arrays] or [np.empty(0, dtype=np.int64)])
        indices = None
        if self.rows._indices is not None:
            indices = self.rows._indices.column(0).to_numpy()
            stored = stored[indices]
        object.__setattr__(self, "_chunks", arrays)
        object.__setattr__(self, "_first_rows", np.cumsum([0, *sizes]))
        object.__setattr__(self, "_indices", indices)
        object.__setattr__(self, "lengths", (stored - self.special.count).astype(np.int32))

    def __len__(self) -> int:
        return len(self.lengths)

    def __reduce__(self) -> tuple[Any, ...]:
        return ArrowDocuments, (self.rows, self.special, self.fingerprint)

    def ids(self, document: int, start: int, stop: int) -> NDArray[np.integer[Any]]:
        """Tokens ``start:stop`` of a row, a view into the mapped table."""
        row = document if self._indices is None else int(self._indices[document])
        chunk = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        values, offsets = self._chunks[chunk]
        begin = int(offsets[row - int(self._first_rows[chunk])]) + len(self.special.prefix)
        return values[begin + start : begin + stop]


def pretokenized(rows: Any, tokenizer: Any, *, label: str) -> ArrowDocuments:
    """The documents of a ``datasets.Dataset`` with ``input_ids``, checked against the tokenizer.

    Special tokens around every one of the first rows are taken to be around all. Raises UserError where ids lie
    outside the vocabulary, or where only some rows have special tokens.
    """
    special = _special_of(rows, SpecialTokens.of(tokenizer), label)
    digest = hashlib.blake2b(repr(special).encode(), digest_size=16)
    vocabulary = max(tokenizer.get_vocab().values()) + 1
    plain = ArrowDocuments(rows)
    for first in range(0, len(plain), _ROWS):
        for row in range(first, min(first + _ROWS, len(plain))):
            ids = plain.ids(row, 0, int(plain.lengths[row]))
            _check_ids(ids, vocabulary, special, f"row {row} of {label}")
            digest.update(np.int64(len(ids)).tobytes())
            digest.update(ids.astype(np.int32).tobytes())
    return ArrowDocuments(rows, special, digest.hexdigest())


def _check_ids(ids: NDArray[Any], vocabulary: int, special: SpecialTokens, where: str) -> None:
    if ids.size and (ids.min() < 0 or ids.max() >= vocabulary):
        bad = int(ids[(ids < 0) | (ids >= vocabulary)][0])
        msg = f"{where} has the id {bad}, but the tokenizer has ids 0 to {vocabulary - 1}: another tokenizer made this data"
        raise UserError(msg)
    if len(ids) < special.count or not _carries(ids, special):
        msg = f"{where} lacks the special tokens that the first rows have: data is made with them or without, not both"
        raise UserError(msg)


def _special_of(rows: Any, expected: SpecialTokens, label: str) -> SpecialTokens:
    looked_at = ArrowDocuments(rows.select(range(min(len(rows), _LOOKED_AT))))
    carrying = [
        bool(_carries(looked_at.ids(row, 0, int(looked_at.lengths[row])), expected)) for row in range(len(looked_at))
    ]
    if expected.count == 0 or not any(carrying):
        return SpecialTokens()
    if all(carrying):
        return expected
    msg = (
        f"{sum(carrying)} of the first {len(carrying)} rows of {label} have special tokens around them, "
        f"row {carrying.index(False)} has not: data is made with them or without, not both"
    )
    raise UserError(msg)


def _carries(ids: NDArray[Any], special: SpecialTokens) -> bool:
    head, tail = len(special.prefix), len(special.suffix)
    return (
        len(ids) >= special.count
        and tuple(ids[:head].tolist()) == special.prefix
        and tuple(ids[len(ids) - tail :].tolist()) == special.suffix
    )
