"""The order of a mixture: each source has its own seeded order, and tokens alone decide whose sequence comes next.

A sequence that stands after L tokens of its source, and has l itself, comes at the time (L + l / 2) / share, and all
are taken in the order of their times (as in fair queueing of packets of several sizes: Demers, Keshav and Shenker
1989, "Analysis and simulation of a fair queueing algorithm"). Up to any time t, a source has given ``share * t``
tokens to within half a sequence: a fixed bound, however long the run.
"""

from __future__ import annotations

from math import ceil, inf
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from neobert.data.order import shuffled
from neobert.data.sequences import Cut, Pieces
from neobert.seeding import derive_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from neobert.data.cursor import Cursor


@frozen
class Mark:
    """Where a source stands."""

    epoch: int = 0
    sequences: int = 0
    """Of this epoch that are done,"""
    tokens: int = 0
    """and their tokens."""


@frozen(eq=False)
class Lane:
    """The order of one source: its passes, each shuffled, one after another without end."""

    name: str
    cut: Cut
    first: int
    """Number of its first sequence in the cut."""
    sequences: int
    tokens: int
    share: float
    """Of the tokens trained on."""

    def until(self, mark: Mark, tokens: int, seed: int) -> tuple[Pieces, NDArray[np.int64], Mark]:
        """The sequences from the mark on whose middle lies before so many tokens of this source, in order; twice the
        place of each one's middle; and the mark after them. O(what is returned)."""
        parts, middles, own = [], [], derive_seed(seed, "mixture", self.name)
        while True:
            begun = mark.epoch * self.tokens + mark.tokens
            count = 64 + int(1.1 * max(0, tokens - begun) * self.sequences / self.tokens)
            places = np.arange(mark.sequences, min(mark.sequences + count, self.sequences), dtype=np.int64)
            pieces = self.cut.pieces(self.first + shuffled(places, self.sequences, own, mark.epoch))
            ends = begun + np.cumsum(pieces.lengths)
            middle = 2 * ends - pieces.lengths
            taken = int(np.searchsorted(middle, 2 * tokens))
            parts.append(pieces[:taken])
            middles.append(middle[:taken])
            if taken:
                done = int(ends[taken - 1]) - mark.epoch * self.tokens
                mark = Mark(mark.epoch, mark.sequences + taken, done)
            if mark.sequences == self.sequences:
                mark = Mark(mark.epoch + 1)
            elif taken < len(places):
                return Pieces.join(parts), np.concatenate(middles), mark


class MixedSource:
    """A planner's windows of a mixture. Window w holds the times from ``w * length`` on: its ends are a function of w,
    and the marks save walking there. There is one epoch, which ends where the first source does, or never."""

    def __init__(self, lanes: tuple[Lane, ...], size: int, seed: int, *, stop: bool) -> None:
        """``size``: sequences a window, on average."""
        self.lanes = lanes
        self.end = min(lane.tokens / lane.share for lane in lanes) if stop else inf
        sequences_a_token = sum(lane.share * lane.sequences / lane.tokens for lane in lanes)
        self.length = max(1, round(size / sequences_a_token))
        self._seed = seed
        self._marks: tuple[Mark, ...] = ()

    def begin(self, cursor: Cursor) -> None:
        """Goes where the cursor's marks say; at the start there are none."""
        self._marks = tuple(Mark(*mark) for mark in cursor.marks) or (Mark(),) * len(self.lanes)

    def over(self, epoch: int) -> bool:
        """There is no second epoch."""
        return epoch > 0

    def has(self, epoch: int, window: int) -> bool:
        """Whether it begins before the end."""
        return window * self.length < self.end

    def window(self, epoch: int, window: int) -> Pieces:
        """The sequences of these times, in their order. The one before was asked for, or the marks are there."""
        parts, times, marks = [], [], []
        for lane, mark in zip(self.lanes, self._marks, strict=True):
            pieces, middles, after = lane.until(mark, self._tokens(lane, window + 1), self._seed)
            parts.append(pieces)
            times.append((middles - 2 * self._tokens(lane, window)) / lane.share)
            marks.append(after)
        self._marks = tuple(marks)
        return Pieces.join(parts)[np.argsort(np.concatenate(times), kind="stable")]

    def marks(self) -> tuple[tuple[int, int, int], ...]:
        """Of every source, in order."""
        return tuple((mark.epoch, mark.sequences, mark.tokens) for mark in self._marks)

    def stands_at(self, cursor: Cursor, longest: int) -> bool:
        """Whether the marks are those of the cursor's window: to within half a sequence where its times begin."""
        if not cursor.marks:
            return cursor.epoch == cursor.window == 0
        if len(cursor.marks) != len(self.lanes) or cursor.epoch > 1 or (cursor.epoch == 1 and self.end == inf):
            return False
        window = cursor.window if cursor.epoch == 0 else ceil(self.end / self.length)
        for lane, (epoch, sequences, tokens) in zip(self.lanes, cursor.marks, strict=True):
            off = epoch * lane.tokens + tokens - self._tokens(lane, window)
            if not (sequences < lane.sequences and tokens < lane.tokens and abs(off) <= longest):
                return False
        return True

    def ids(self, pieces: Pieces) -> None:
        """The documents hold them."""

    def close(self) -> None:
        """Nothing is open."""

    def _tokens(self, lane: Lane, window: int) -> int:
        """How many a lane gives before a window begins."""
        if window * self.length >= self.end:
            return min(lane.tokens, round(lane.share * self.end))
        return int(lane.share * (window * self.length))
