"""The order of a mixture: each source has its own seeded order, and tokens alone decide whose sequence comes next.

A sequence that stands after L tokens of its source, and has l itself, comes at the time (L + l / 2) / share, and all
are taken in the order of their times (as in fair queueing of packets of several sizes: Demers, Keshav and Shenker
1989, "Analysis and simulation of a fair queueing algorithm"). Up to any time t, a source has given ``share * t``
tokens to within half a sequence: a fixed bound, however long the run.
"""

from __future__ import annotations

from collections import Counter
from math import ceil, inf
from typing import TYPE_CHECKING, Any

import numpy as np

from neobert.data.joined_keys import join_keys
from neobert.data.lanes import Mark, marks_of
from neobert.data.sequences import Pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from neobert.data.cursor import Cursor
    from neobert.data.joined_keys import JoinedKeys
    from neobert.data.lanes import Lane
    from neobert.data.text_keys import TextKeys


class MixedSource:
    """A planner's windows of a mixture. Window w holds the times from ``w * length`` on: its ends are a function of w,
    and the marks save walking there. There is one epoch, which ends where the first source does, or never."""

    def __init__(
        self,
        lanes: tuple[Lane, ...],
        length: int,
        *,
        stop: bool,
        apart: bool = False,
        table: JoinedKeys | None = None,
        source_of: Callable[[Pieces], NDArray[np.int64]] | None = None,
    ) -> None:
        """``length``: tokens a window, of all sources. ``apart``: each lane numbers its own documents from 0, and
        holds their tokens; here document d of lane i is ``d * lanes + i``. Otherwise they have numbers for all, and
        ``table`` has their keys. ``source_of``: where a micro-batch has one source, the number of each sequence's."""
        self.lanes = lanes
        self.length = length
        self.end = inf
        """Time at which the first source has been read through, as far as that is known."""
        self._stop = stop
        self._apart = apart
        self._table = table
        self._source_of = source_of
        self._marks: tuple[Mark, ...] = (Mark(),) * len(lanes)

    @property
    def first_out(self) -> str | None:
        """The source that has been read through when the data ends."""
        ends = [self._end_of(lane, mark) for lane, mark in zip(self.lanes, self._marks, strict=True)]
        return self.lanes[int(np.argmin(ends))].name if self._stop and min(ends) < inf else None

    def begin(self, cursor: Cursor) -> None:
        """Goes where the cursor's marks say; at the start there are none."""
        self._go(cursor)
        if self._apart:
            carry = Pieces.from_tuples(cursor.carry)
            for number, lane in enumerate(self.lanes):
                lane.begin(self._own(carry[carry.document % len(self.lanes) == number]))

    def over(self, epoch: int) -> bool:
        """There is no second epoch."""
        return epoch > 0

    def has(self, epoch: int, window: int) -> bool:
        """Whether it begins before the end."""
        return window * self.length < self.end

    def window(self, epoch: int, window: int) -> Pieces:
        """The sequences of these times, in their order. The one before was asked for, or the marks are there."""
        found = self._until(window + 1)
        known = self.end
        self._find_end([after for _, _, after in found])
        if self.end < known:
            found = self._until(window + 1)
        times = [
            (middles - 2 * (mark.zero + self._tokens(lane, mark, window))) / lane.share
            for lane, mark, (_, middles, _) in zip(self.lanes, self._marks, found, strict=True)
        ]
        self._marks = tuple(after for _, _, after in found)
        return Pieces.join([pieces for pieces, _, _ in found])[np.argsort(np.concatenate(times), kind="stable")]

    def marks(self) -> tuple[tuple[int, ...], ...]:
        """Of every source, in order."""
        return tuple(mark.to_tuple() for mark in self._marks)

    def stands_at(self, cursor: Cursor, longest: int) -> bool:
        """Whether the marks are those of the cursor's window: to within half a sequence where its times begin."""
        if not cursor.marks:
            return cursor.epoch == cursor.window == 0
        if len(cursor.marks) != len(self.lanes) or cursor.epoch > 1 or any(len(mark) != 5 for mark in cursor.marks):
            return False
        self._go(cursor)
        if cursor.epoch == 1 and self.end == inf:
            return False
        window = cursor.window if cursor.epoch == 0 else ceil(self.end / self.length)
        for lane, mark in zip(self.lanes, self._marks, strict=True):
            off = mark.tokens - mark.zero - self._tokens(lane, mark, window)
            if not (lane.stands_at(mark) and abs(off) <= longest):
                return False
        return True

    def ids(self, pieces: Pieces) -> tuple[NDArray[Any], ...] | None:
        """The tokens of these sequences, where documents of all sources do not hold them."""
        if not self._apart:
            return None
        found: dict[int, NDArray[np.integer[Any]]] = {}
        for number, lane in enumerate(self.lanes):
            places = np.flatnonzero(pieces.document % len(self.lanes) == number)
            found |= dict(zip(places.tolist(), lane.ids(self._own(pieces[places])), strict=True))
        return tuple(found[place] for place in range(len(pieces)))

    def keys(self, pieces: Pieces) -> TextKeys | None:
        """Of examples, those of all sources."""
        if not self._apart:
            return None if self._table is None else self._table.of(pieces.document)
        places = [np.flatnonzero(pieces.document % len(self.lanes) == number) for number in range(len(self.lanes))]
        found = [lane.keys(self._own(pieces[mine])) for lane, mine in zip(self.lanes, places, strict=True)]
        return join_keys(found, places)

    def groups(self, pieces: Pieces) -> NDArray[np.int64] | None:
        """See `Source`."""
        return None if self._source_of is None else self._source_of(pieces)

    def counts(self) -> Counter[str]:
        """Rows of streams that are left out or cut, of the windows that the current plan has come through."""
        counts: Counter[str] = Counter()
        for lane, mark in zip(self.lanes, self._marks, strict=True):
            counts.update(lane.counts(mark))
        return counts

    def close(self) -> None:
        """Nothing more is read."""
        for lane in self.lanes:
            lane.close()

    def _go(self, cursor: Cursor) -> None:
        self._marks = marks_of(cursor, len(self.lanes))
        self.end = inf
        self._find_end(list(self._marks))

    def _until(self, window: int) -> list[tuple[Pieces, NDArray[np.int64], Mark]]:
        """What each lane gives before a window begins."""
        found = []
        for number, (lane, mark) in enumerate(zip(self.lanes, self._marks, strict=True)):
            tokens = mark.zero + self._tokens(lane, mark, window)
            pieces, middles, after = lane.until(mark, tokens, once=self._stop)
            if self._apart:
                pieces = Pieces(pieces.document * len(self.lanes) + number, pieces.start, pieces.stop)
            found.append((pieces, middles, after))
        return found

    def _own(self, pieces: Pieces) -> Pieces:
        """The same sequences of one lane, in its own numbers."""
        return Pieces(pieces.document // len(self.lanes), pieces.start, pieces.stop)

    def _find_end(self, marks: list[Mark]) -> None:
        if self._stop:
            self.end = min(self._end_of(lane, mark) for lane, mark in zip(self.lanes, marks, strict=True))

    def _end_of(self, lane: Lane, mark: Mark) -> float:
        total = lane.tokens if lane.tokens is not None else mark.tokens if mark.epoch else None
        return inf if total is None else (total - mark.zero) / lane.share

    def _tokens(self, lane: Lane, mark: Mark, window: int) -> int:
        """How many a lane gives under the shares that hold now before a window begins."""
        if window * self.length >= self.end:
            most = lane.tokens - mark.zero if lane.tokens is not None else inf
            return int(min(most, round(lane.share * self.end)))
        return int(lane.share * (window * self.length))
