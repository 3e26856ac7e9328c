"""How often each sequence of a corpus, or of one source of a mixture, came: the accounts of an audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import field, frozen

from neobert.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from neobert.data.sequences import Cut, Pieces

SHOWN = 10
"""Faults of a kind that are named; all are counted."""
CAME_WRONG = "sequences that did not come once an epoch"


@frozen
class Progress:
    """How far a cursor says that the sequences were passed over."""

    epochs: int
    """Complete passes,"""
    begun: int
    """and how many sequences the next one has come to."""


@frozen(eq=False)
class Ledger:
    """Four bytes a sequence, and no more for a longer walk."""

    cut: Cut
    source: str | None = None
    """Of a mixture."""
    first: NDArray[np.int64] = field(init=False)
    """(documents + 1,) number of each document's first sequence, counted anew."""
    seen: NDArray[np.int32] = field(init=False)
    faults: dict[str, list[str]] = field(init=False, factory=dict)
    counts: dict[str, int] = field(init=False, factory=dict)

    @first.default
    def _first(self) -> NDArray[np.int64]:
        lengths = self.cut.lengths.astype(np.int64)
        pieces = (lengths > 0).astype(np.int64)
        if self.cut.overflow == "split":
            pieces = np.ceil(lengths / self.cut.body).astype(np.int64)
        elif self.cut.overflow == "drop":
            pieces[lengths > self.cut.body] = 0
        return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(pieces)))

    @seen.default
    def _seen(self) -> NDArray[np.int32]:
        return np.zeros(int(self.first[-1]), dtype=np.int32)

    @property
    def of_source(self) -> str:
        """For the end of a phrase."""
        return "" if self.source is None else f" of source {self.source}"

    def enter(self, pieces: Pieces) -> None:
        """Counts sequences; one that is not a whole sequence of its document is a fault."""
        number, whole = self._numbers(pieces)
        for piece in pieces[~whole].to_tuples():
            self.fault("sequences that no document is cut into", self.named(piece))
        np.add.at(self.seen, number[whole], 1)

    def check(self, carry: Pieces, progress: Progress) -> None:
        """At a window's end: what was given out, with what waits for the next window, is what the cursor says."""
        total = self.seen.copy()
        number, whole = self._numbers(carry)
        np.add.at(total, number[whole], 1)
        most = progress.epochs + (1 if progress.begun else 0)
        wrong = np.flatnonzero((total < progress.epochs) | (total > most))
        for place in wrong[:SHOWN].tolist():
            times = f"{counted(int(total[place]), 'time')} in {counted(progress.epochs, 'complete epoch')}"
            self.fault(CAME_WRONG, f"{self.name(place)}: {times}")
        self._more(CAME_WRONG, len(wrong) - min(SHOWN, len(wrong)))
        expected = progress.epochs * len(total) + progress.begun
        if not wrong.size and int(total.sum(dtype=np.int64)) != expected:
            text = f"{counted(int(total.sum(dtype=np.int64)), 'sequence')}{self.of_source}, {expected:,} expected"
            self.fault("sums that are not the cursor's", text)

    def name(self, number: int) -> str:
        """A sequence by its document."""
        document = int(np.searchsorted(self.first, number, side="right")) - 1
        start = (number - int(self.first[document])) * self.cut.body
        return self.named((document, start, min(start + self.cut.body, int(self.cut.lengths[document]))))

    def named(self, piece: tuple[int, int, int]) -> str:
        """A stretch of a document."""
        document, start, stop = piece
        return f"document {document}{self.of_source} tokens {start}:{stop}"

    def passed(self, progress: Progress) -> str:
        """What came, for people."""
        documents = int(np.count_nonzero(np.diff(self.first)))
        return (
            f"{counted(documents, 'document')}{self.of_source} as {counted(len(self.seen), 'sequence')}: "
            f"{counted(progress.epochs, 'complete epoch')}, and {counted(progress.begun, 'sequence')} of the next"
        )

    def documents(self) -> NDArray[np.int64]:
        """Those of which a sequence came."""
        came = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(self.seen > 0)))
        return np.flatnonzero(np.diff(came[self.first]))

    def fault(self, kind: str, text: str) -> None:
        """Names one fault, up to a limit, and counts it."""
        self.faults.setdefault(kind, [])
        if len(self.faults[kind]) < SHOWN:
            self.faults[kind].append(text)
        self._more(kind, 1)

    def lines(self) -> tuple[str, ...]:
        """The faults, a kind a line."""
        return tuple(f"{self.counts[kind]:,} {kind}: {'; '.join(named)}" for kind, named in self.faults.items())

    def _numbers(self, pieces: Pieces) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The number of each sequence, and whether it is one that its document is cut into."""
        known = pieces.document < len(self.cut.lengths)
        document = np.where(known, pieces.document, 0)
        length = np.where(known, self.cut.lengths[document], 0)
        whole = known & (pieces.start % self.cut.body == 0) & (pieces.start < length)
        whole &= pieces.stop == np.minimum(pieces.start + self.cut.body, length)
        number = self.first[document] + pieces.start // self.cut.body
        whole &= number < self.first[np.where(known, pieces.document + 1, 0)]
        return number, whole

    def _more(self, kind: str, count: int) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + count
