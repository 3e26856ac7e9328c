"""Datasets that hold token ids already, used as they are on disk."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from neobert.data.provenance import TOKENIZATION, recorded, refuse_other_tokenizer
from neobert.data.sequences import SpecialTokens
from neobert.data.texts import files_of
from neobert.errors import UserError

_ROWS_A_BLOCK = 10_000
_Int64s = NDArray[np.int64]


@frozen(eq=False)
class ArrowDocuments:
    """The ``input_ids`` of a ``datasets.Dataset``, without the special tokens that rows may carry."""

    rows: Any
    special: SpecialTokens = field(factory=SpecialTokens)
    """Those that every row already carries: not counted in lengths."""
    fingerprint: str = field(default="")
    _chunks: tuple[tuple[NDArray[Any], NDArray[np.integer[Any]]], ...] = field(init=False, repr=False)
    """Of each chunk of the table, mapped where it is on disk: all ids end to end, and where rows begin and end."""
    _first_rows: _Int64s = field(init=False, repr=False)
    _indices: _Int64s | None = field(init=False, repr=False)
    """Row of the table for each document, where the dataset is a selection."""

    def __attrs_post_init__(self) -> None:
        chunks = tuple(_mapped(chunk) for chunk in self.rows.data.column("input_ids").chunks)
        selection = self.rows._indices
        indices = None if selection is None else selection.column(0).to_numpy().view(np.int64)  # of uint64
        object.__setattr__(self, "_chunks", chunks)
        object.__setattr__(self, "_first_rows", np.cumsum([0, *(len(bounds) - 1 for _, bounds in chunks)]))
        object.__setattr__(self, "_indices", indices)

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """See `Documents`. Made when it is asked for: workers do without."""
        stored = [np.diff(bounds).astype(np.int32) for _, bounds in self._chunks]
        lengths = np.concatenate(stored or [np.empty(0, dtype=np.int32)])
        if self._indices is not None:
            lengths = lengths[self._indices]
        found: NDArray[np.int32] = np.maximum(lengths - np.int32(self.special.count), 0)
        return found

    def __len__(self) -> int:
        return len(self.rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return ArrowDocuments, (self.rows, self.special, self.fingerprint)

    def ids(self, document: int, start: int, stop: int) -> NDArray[np.integer[Any]]:
        """Tokens ``start:stop`` of a row, a view into the mapped table."""
        row = document if self._indices is None else int(self._indices[document])
        chunk = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        values, bounds = self._chunks[chunk]
        begin = int(bounds[row - int(self._first_rows[chunk])]) + len(self.special.prefix)
        return values[begin + start : begin + stop]


def pretokenized(rows: Any, tokenizer: Any, *, label: str, max_seq_length: int | None = None) -> ArrowDocuments:
    """The documents of a ``datasets.Dataset`` with ``input_ids``, checked against the tokenizer.

    What stands around every row is left out when read (the core puts special tokens around every sequence): what
    the record beside the data says (`Tokenization`), and without one the tokenizer's special tokens where every
    row has them. Raises UserError where another tokenizer made the data; with the row, where ids lie outside the
    vocabulary, only some rows have special tokens, or a row that is made up with them is over ``max_seq_length``.
    """
    record = recorded(rows, label)
    if record is not None:
        refuse_other_tokenizer(record, tokenizer, label)
    special = SpecialTokens.of(tokenizer) if record is None else record.around
    vocabulary, place = max(tokenizer.get_vocab().values()) + 1, files_of(rows)
    lengths_digest, ids_digest = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
    carrying: list[NDArray[np.bool_]] = []
    lengths: list[_Int64s] = []
    for first in range(0, len(rows), _ROWS_A_BLOCK):
        block = rows.with_format("arrow")[first : min(first + _ROWS_A_BLOCK, len(rows))]
        lists = block.column("input_ids").combine_chunks()
        _refuse_gaps(lists, first, label, place)
        values, bounds = _flat(lists)
        check_vocabulary(values, bounds, vocabulary, first, label, place)
        carrying.append(carries(values, bounds, special))
        lengths.append(np.diff(bounds))
        lengths_digest.update(lengths[-1].tobytes())
        ids_digest.update(values.astype(np.int32).tobytes())
    if not lengths:
        return ArrowDocuments(rows)
    all_carrying, all_lengths = np.concatenate(carrying), np.concatenate(lengths)
    found = agreed(all_carrying, all_lengths, special, label)
    if record is not None and found != special and all_lengths.any():
        msg = (
            f"{label} is said to have {special.count} special tokens around every row ({TOKENIZATION} beside it), "
            "and its rows have none: it was changed since"
        )
        raise UserError(msg)
    if found.count:
        _refuse_long(all_lengths, max_seq_length, label)
    return ArrowDocuments(rows, found, f"{lengths_digest.hexdigest()}-{ids_digest.hexdigest()}")


def _refuse_long(lengths: _Int64s, max_seq_length: int | None, label: str) -> None:
    """A row with special tokens inside is a whole sequence: cut, its pieces would be none."""
    if max_seq_length is None or lengths.max() <= max_seq_length:
        return
    msg = (
        f"row {int(np.argmax(lengths > max_seq_length))} of {label} has {int(lengths[lengths > max_seq_length][0])} "
        f"tokens with its special tokens, over dataset.max_seq_length = {max_seq_length} "
        f"(so have {int((lengths > max_seq_length).sum())} rows, the longest {int(lengths.max())})\n"
        "rows with special tokens inside are whole sequences, and are not cut: raise dataset.max_seq_length, or "
        f"tokenize again, to at most {max_seq_length} tokens (neobert-tokenize --max-length) or without special tokens"
    )
    raise UserError(msg)


def _refuse_gaps(lists: Any, first: int, label: str, place: str) -> None:
    """Raises UserError where something that is no id stands in a row."""
    import pyarrow.compute as pc

    if lists.flatten().null_count:
        row = first + int(pc.list_parent_indices(lists).filter(lists.flatten().is_null())[0].as_py())
        msg = f"row {row} of {label} has an empty value among its ids{place}"
        raise UserError(msg)


def _mapped(lists: Any) -> tuple[NDArray[Any], NDArray[np.integer[Any]]]:
    """As `_flat`, of an array without a copy: views into the file, however large it is."""
    import pyarrow as pa

    plain = pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)
    if not plain or lists.null_count or lists.values.null_count:
        return _flat(lists)
    return lists.values.to_numpy(zero_copy_only=True), lists.offsets.to_numpy(zero_copy_only=True)


def _flat(lists: Any) -> tuple[NDArray[Any], _Int64s]:
    """All values of an Arrow list array end to end, and the bounds of its rows (rows + 1,). Null is empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks)
    values = lists.flatten()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return values.to_numpy(zero_copy_only=False), np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))


def check_vocabulary(
    values: NDArray[Any], bounds: _Int64s, vocabulary: int, first: int, label: str, place: str = ""
) -> None:
    """Raises UserError where an id of these rows, numbered from ``first``, is not the tokenizer's; ``place`` is a line
    that says where they are.
    """
    if not values.size or (values.min() >= 0 and values.max() < vocabulary):
        return
    at = int(np.flatnonzero((values < 0) | (values >= vocabulary))[0])
    row = first + int(np.searchsorted(bounds, at, side="right")) - 1
    msg = (
        f"row {row} of {label} has the id {values[at]}, but the tokenizer's ids are 0 to {vocabulary - 1}{place}\n"
        "another tokenizer made this data: name that one, or tokenize again"
    )
    raise UserError(msg)


def carries(values: NDArray[Any], bounds: _Int64s, special: SpecialTokens) -> NDArray[np.bool_]:
    """(rows,) whether each row begins and ends with the special tokens."""
    found = np.diff(bounds) >= special.count
    inside = np.flatnonzero(found)
    for place, token in enumerate(special.prefix):
        found[inside] &= values[bounds[:-1][inside] + place] == token
    for place, token in enumerate(reversed(special.suffix), start=1):
        found[inside] &= values[bounds[1:][inside] - place] == token
    return found


def agreed(carrying: NDArray[np.bool_], lengths: _Int64s, special: SpecialTokens, label: str) -> SpecialTokens:
    """The special tokens that all rows carry, or none; rows without a token say nothing. Raises UserError."""
    carrying, filled = carrying & (lengths > 0), lengths > 0
    if special.count == 0 or not carrying.any():
        return SpecialTokens()
    if carrying.sum() == filled.sum():
        return special
    msg = (
        f"{int(carrying.sum())} of {len(carrying)} rows of {label} have the tokenizer's special tokens around "
        f"them, row {int(np.argmax(filled & ~carrying))} has not\n"
        "data is made with special tokens or without, not both"
    )
    raise UserError(msg)
