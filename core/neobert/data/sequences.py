"""Documents cut into sequences: how many each gives, where each begins, what special tokens it gets."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from neobert.errors import UserError

_Int64s = NDArray[np.int64]
_STRIDE = 8
_FEW = 1 << 20
"""Sequences of which each may have its document looked up: 8 MiB at most."""
_PROBES = ("a", "the", "0", ".", "e")


@frozen
class SpecialTokens:
    """The ids that a tokenizer puts before and after a single text."""

    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """Special tokens of a sequence."""
        return len(self.prefix) + len(self.suffix)

    @classmethod
    def of(cls, tokenizer: Any) -> SpecialTokens:
        """Found from what the tokenizer does: a text encoded with and without them."""
        for probe in _PROBES:
            bare = list(tokenizer(probe, add_special_tokens=False)["input_ids"])
            full = list(tokenizer(probe, add_special_tokens=True)["input_ids"])
            for start in range(len(full) - len(bare) + 1):
                if bare and full[start : start + len(bare)] == bare:
                    return cls(tuple(full[:start]), tuple(full[start + len(bare) :]))
        msg = f"cannot tell which special tokens {type(tokenizer).__name__} adds: it encodes none of {_PROBES} as text"
        raise UserError(msg)

    def around(self, ids: NDArray[np.integer[Any]]) -> _Int64s:
        """prefix + ids + suffix, (n,) int64."""
        sequence = np.empty(len(ids) + self.count, dtype=np.int64)
        start = len(self.prefix)
        sequence[:start] = self.prefix
        sequence[start : start + len(ids)] = ids
        sequence[start + len(ids) :] = self.suffix
        return sequence


@frozen(eq=False)
class Pieces:
    """Pieces of documents, each one sequence: (n,) int64 each; tokens ``start:stop`` of ``document``."""

    document: _Int64s
    start: _Int64s
    stop: _Int64s

    def __len__(self) -> int:
        return len(self.document)

    def __getitem__(self, which: Any) -> Pieces:
        """The pieces at these indices, or of this slice or mask."""
        return Pieces(self.document[which], self.start[which], self.stop[which])

    @property
    def lengths(self) -> _Int64s:
        """Tokens of each, special tokens not counted."""
        return self.stop - self.start

    def to_tuples(self) -> tuple[tuple[int, int, int], ...]:
        """((document, start, stop), ...) of plain ints."""
        return tuple(zip(self.document.tolist(), self.start.tolist(), self.stop.tolist(), strict=True))

    @classmethod
    def from_tuples(cls, pieces: tuple[tuple[int, int, int], ...]) -> Pieces:
        """The inverse of `to_tuples`."""
        columns = np.asarray(pieces, dtype=np.int64).reshape(-1, 3).T
        return cls(*columns)

    @classmethod
    def join(cls, parts: list[Pieces]) -> Pieces:
        """All of them, in order."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.document for part in parts]),
            np.concatenate([part.start for part in parts]),
            np.concatenate([part.stop for part in parts]),
        )


@frozen(eq=False)
class Cut:
    """The sequences that documents of these lengths are cut into, numbered in the documents' order."""

    lengths: NDArray[np.int32] = field(repr=False)
    """(documents,) tokens of each, without special tokens; 0 gives no sequence."""
    body: int
    """Tokens of a document that a sequence holds at most: max_seq_length without the special tokens."""
    overflow: Literal["split", "truncate", "drop"]
    first: _Int64s | None = field(init=False, repr=False)
    """(documents + 1,) the number of each document's first sequence; None where each is one sequence."""

    @first.default
    def _first(self) -> _Int64s | None:
        pieces = self.pieces_of(self.lengths)
        if pieces.size and pieces.min() == 1 == pieces.max():
            return None
        return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(pieces, dtype=np.int64)))

    _near: _Int64s | None = field(init=False, repr=False)
    """The document of each sequence where they are few, else of every `_STRIDE`-th: where to look for others."""

    @_near.default
    def _find_near(self) -> _Int64s | None:
        if self.first is None:
            return None
        stride = self._stride
        return np.searchsorted(self.first, np.arange(0, self.first[-1] + stride, stride), side="right") - 1

    @property
    def _stride(self) -> int:
        return 1 if len(self) <= _FEW else _STRIDE

    def __len__(self) -> int:
        """How many sequences there are."""
        return len(self.lengths) if self.first is None else int(self.first[-1])

    def pieces_of(self, lengths: NDArray[np.integer[Any]]) -> _Int64s:
        """How many sequences documents of these lengths give."""
        if self.overflow == "split":
            return -(-lengths.astype(np.int64) // self.body)
        whole = lengths > 0
        if self.overflow == "drop":
            whole &= lengths <= self.body
        return whole.astype(np.int64)

    def pieces(self, numbers: _Int64s) -> Pieces:
        """The sequences with these numbers."""
        document = self._documents(numbers)
        length = self.lengths[document].astype(np.int64)
        start = np.zeros_like(numbers) if self.first is None else (numbers - self.first[document]) * self.body
        return Pieces(document, start, np.minimum(start + self.body, length))

    def _documents(self, numbers: _Int64s) -> _Int64s:
        """The document of each sequence, found by halving between two that are known: in a large corpus, several
        times as quick as a search through all."""
        if self.first is None or self._near is None:
            return numbers
        if self._stride == 1:
            return self._near[numbers]
        place = numbers // _STRIDE
        low, high = self._near[place], self._near[place + 1] + 1
        for _ in range(int((high - low).max(initial=1) - 1).bit_length()):
            middle = (low + high) // 2
            before = self.first[middle] <= numbers
            low, high = np.where(before, middle, low), np.where(before, high, middle)
        return low

    def tokens_of(self, lengths: NDArray[np.integer[Any]]) -> int:
        """How many tokens of documents of these lengths are in sequences."""
        if self.overflow == "truncate":
            lengths = np.minimum(lengths, self.body)
        elif self.overflow == "drop":
            lengths = lengths[lengths <= self.body]
        return int(lengths.sum(dtype=np.int64))

    def gives(self, pieces: tuple[tuple[int, int, int], ...]) -> bool:
        """Whether these can be sequences of these documents: (document, start, stop) each."""
        found = Pieces.from_tuples(pieces)
        return not len(found) or bool(
            found.document.max() < len(self.lengths)
            and (found.start < found.stop).all()
            and (found.stop <= self.lengths[found.document]).all()
            and (found.lengths <= self.body).all()
        )

    @property
    def tokens(self) -> int:
        """Of all sequences, special tokens not counted: what truncating or dropping left out is not among them."""
        if self.overflow == "truncate":
            return int(np.minimum(self.lengths, self.body).sum(dtype=np.int64))
        kept = self.lengths if self.overflow == "split" else self.lengths[self.lengths <= self.body]
        return int(kept.sum(dtype=np.int64))

    @property
    def over(self) -> int:
        """Documents longer than a sequence: those that are split, truncated or dropped."""
        return int(np.count_nonzero(self.lengths > self.body))


def whole(lengths: NDArray[np.int32]) -> Cut:
    """Every document of these lengths is one sequence, however long."""
    return Cut(lengths, max(1, int(lengths.max(initial=0))), "truncate")


def body_length(max_seq_length: int, special: SpecialTokens) -> int:
    """Tokens of a document that fit into a sequence beside its special tokens."""
    body = max_seq_length - special.count
    if body < 1:
        msg = (
            f"dataset.max_seq_length = {max_seq_length} leaves no room beside {special.count} special tokens a sequence"
        )
        raise UserError(msg)
    return body
