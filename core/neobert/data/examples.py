"""Examples as documents of a plan: how long each is, what its sequences are, which keys its texts have.

An example's length is that of all its sequences, special tokens included; one that is left out has length 0. A plan
takes it whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from neobert.data.example_form import ExampleRules
from neobert.data.example_store import ExampleTable
from neobert.data.pair_form import cut_pairs
from neobert.roles import PAIR

ROWS_A_STRETCH = 100_000
"""Rows that are looked at together: what that takes of memory stays the same for any number of rows."""

_Int64s = NDArray[np.int64]


@frozen(eq=False)
class Stretch:
    """The texts of some rows, as the rules cut them."""

    first: int
    """Number of the first row,"""
    first_text: int
    """and of its first text in the table."""
    row: _Int64s
    """(texts,) the row of each, from 0."""
    owner: NDArray[np.uint8]
    uncut: _Int64s
    """(texts,) tokens of each."""
    length: _Int64s
    """(texts,) tokens of each as a sequence has it, special tokens not counted; 0 of one that is not there."""
    rows: _Int64s
    """(rows,) tokens of each example with special tokens; 0 of one that is left out."""
    incomplete: NDArray[np.bool_]
    """(rows,) with nothing in a role that has to be there."""
    dropped: NDArray[np.bool_]
    """(rows,) left out for a text that is too long."""


@frozen(eq=False)
class Examples:
    """The rows of a table as examples: `Documents` that also tell their parts."""

    table: ExampleTable
    rules: ExampleRules

    def __len__(self) -> int:
        return len(self.table)

    @property
    def fingerprint(self) -> str:
        """Of the content, not of how it is cut."""
        return self.table.fingerprint

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """(rows,) tokens of all sequences of each example, with special tokens, as often as they stand in a batch; 0
        where it is left out. Made when it is asked for: workers do without."""
        parts = [stretch.rows for stretch in self.stretches()]
        return np.concatenate(parts or [np.empty(0, dtype=np.int64)]).astype(np.int32)

    def stretches(self) -> Iterator[Stretch]:
        """All rows, many at a time."""
        for first in range(0, len(self), ROWS_A_STRETCH):
            yield self.stretch(first, min(first + ROWS_A_STRETCH, len(self)))

    def stretch(self, first: int, last: int) -> Stretch:
        """The rows from ``first`` to before ``last``."""
        rules, roles = self.rules, self.rules.roles
        begin, end = self.table.texts_of(first, last)
        counts = np.diff(self.table.row_ends[first:last], prepend=begin)
        row = np.repeat(np.arange(last - first), counts)
        owner, uncut = self.table.owners[begin:end], self.table.text_lengths(begin, end)
        length = self._cut(row, owner, uncut)
        incomplete = np.zeros(last - first, dtype=np.bool_)
        for name in roles.required:
            there = np.zeros(last - first, dtype=np.bool_)
            if name in roles.values:
                there = ~self.table.values[name].missing(first, last)
            else:
                there[row[(owner == rules.slots.index(name)) & (length > 0)]] = True
            incomplete |= ~there
        dropped = np.zeros(last - first, dtype=np.bool_)
        if rules.drop:
            dropped[row[uncut > length]] = True
            dropped &= ~incomplete
        joined = np.isin(owner, rules.numbers(roles.joined))
        with_special = np.where(length > 0, length + np.where(joined, 0, rules.special.count), 0) * roles.copies
        rows = np.bincount(row, weights=with_special, minlength=last - first).astype(np.int64)
        rows += 0 if rules.pair is None else rules.pair.count
        rows[incomplete | dropped] = 0
        return Stretch(first, begin, row, owner, uncut, length, rows, incomplete, dropped)

    def example(self, row: int) -> dict[str, Any]:
        """What the collator gets: text roles as ids (n,) int64 with special tokens, ``negatives`` as a tuple of those,
        numbers as they are. An optional text that is not there is left out."""
        rules = self.rules
        found: dict[str, Any] = {name: [] for name in self.table.lists}
        for name, ids in self.bare(row):
            sequence = ids if name in rules.roles.joined else rules.special.around(ids)
            if name in found:
                found[name].append(sequence)
            else:
                found[name] = sequence
        if rules.pair is not None:
            found[PAIR] = rules.pair.around(*(found.pop(name) for name in rules.roles.joined))
        found |= {name: tuple(found[name]) for name in self.table.lists}
        return found | {name: self.table.value(name, row) for name in self.table.values}

    def bare(self, row: int) -> Iterator[tuple[str, NDArray[np.integer[Any]]]]:
        """(role, ids) of each text of a row that is there, cut, without special tokens."""
        first, last = self.table.texts_of(row, row + 1)
        begin, _ = self.table.tokens_of(first, last)
        owner, uncut = self.table.owners[first:last], self.table.text_lengths(first, last)
        kept = self._cut(np.zeros(len(uncut), dtype=np.int64), owner, uncut)
        for number, length, most in zip(owner.tolist(), uncut.tolist(), kept.tolist(), strict=True):
            if length:
                yield self.rules.slots[number], self.table.ids[begin : begin + most]
            begin += length

    def _cut(self, row: _Int64s, owner: NDArray[np.uint8], uncut: _Int64s) -> _Int64s:
        """(texts,) tokens of each that stay; a text of a pair as the other of its row leaves it room."""
        rules = self.rules
        length = np.minimum(uncut, rules.body)
        if rules.pair is not None:
            # A role of one text has one in every row, so both are in the order of rows.
            first, second = (owner == rules.slots.index(name) for name in rules.roles.joined)
            length[first], length[second] = cut_pairs(uncut[first], uncut[second], rules.pair_body)
        return length

    def ids(self, document: int, start: int, stop: int) -> NDArray[np.integer[Any]]:
        """All sequences of an example end to end, each as often as it stands in a batch."""
        special, copies = self.rules.special, self.rules.roles.copies
        if self.rules.pair is not None:
            found = self.example(document)
            return np.concatenate([found[PAIR], *(found[name] for name in self.rules.roles.texts if name in found)])[
                start:stop
            ]
        sequences = [special.around(ids) for _, ids in self.bare(document)] * copies
        return np.concatenate(sequences or [np.empty(0, dtype=np.int64)])[start:stop]
