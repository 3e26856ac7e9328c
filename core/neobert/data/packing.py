"""Packing: which sequences share a micro-batch, so that its token budget is filled.

Planned from the histogram of lengths, as in Krell et al. 2021 ("Efficient sequence packing without
cross-contamination"): the work grows with the number of different lengths and of batches, not of documents.
Most of a large budget is dealt in the order's own sequence, so that a batch mixes lengths; the last of it is
filled with the longest that still fits.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

LEFT = -1
"""In `Packing.batch_of`: in no batch."""
_FITTED_LENGTHS = 4
"""How many times the longest sequence is kept free of each budget for fitting; the rest is dealt."""

_Int64s = NDArray[np.int64]


@frozen(eq=False)
class Packing:
    """Which batch each sequence is in."""

    batch_of: _Int64s
    """(n,) batch number from 0, or LEFT for what is left over."""
    batches: int


def pack(lengths: _Int64s, budget: int, *, first: int = 0, keep_remainder: bool = False) -> Packing:
    """Packs sequences of these lengths (n,), in tokens, into batches of at most ``budget`` tokens.

    The ``first`` ones (carried over; together under the budget) all go into batch 0, so that none waits
    twice. What is left over at the end has fewer than ``budget`` tokens; with ``keep_remainder`` it is one
    more, short, batch.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    if lengths.size == 0:
        return Packing(np.empty(0, dtype=np.int64), 0)
    if lengths.max() > budget or lengths[:first].sum() > budget:
        msg = f"a sequence, or what is carried over, is longer than the budget of {budget} tokens"
        raise ValueError(msg)
    batches = int(lengths.sum()) // budget
    batch_of = np.full(len(lengths), LEFT, dtype=np.int64)
    if batches:
        gaps = _deal(lengths, budget, first, batch_of, batches)
        batches = _fit(lengths, gaps, budget, batch_of)
    left = batch_of == LEFT
    if keep_remainder and left.any():
        batch_of[left] = batches
        batches += 1
    return Packing(batch_of, batches)


def pack_in_order(lengths: _Int64s, budget: int) -> Packing:
    """Packs next-fit: each batch takes sequences as they come until one does not fit; none is left over."""
    ends = np.cumsum(lengths, dtype=np.int64)
    starts: list[int] = []
    start = 0
    while start < len(ends):
        starts.append(start)
        before = int(ends[start - 1]) if start else 0
        start = max(start + 1, int(np.searchsorted(ends, before + budget, side="right")))
    batch_of = np.searchsorted(np.asarray(starts), np.arange(len(ends)), side="right") - 1
    return Packing(batch_of.astype(np.int64), len(starts))


def _deal(lengths: _Int64s, budget: int, first: int, batch_of: _Int64s, batches: int) -> _Int64s:
    """Deals sequences in order into all but each batch's last stretch; returns the gaps, in tokens."""
    carried = int(lengths[:first].sum())
    batch_of[:first] = 0
    longest = int(lengths.max())
    share = np.full(batches, max(0, budget - _FITTED_LENGTHS * longest), dtype=np.int64)
    share[0] = max(0, share[0] - carried)
    fresh = lengths[first:]
    begins = np.cumsum(fresh) - fresh
    dealt_to = np.searchsorted(np.cumsum(share), begins, side="right")
    dealt = dealt_to < batches
    batch_of[first:][dealt] = dealt_to[dealt]
    used = np.bincount(dealt_to[dealt], weights=fresh[dealt], minlength=batches).astype(np.int64)
    used[0] += carried
    return budget - used


def _fit(lengths: _Int64s, gaps: _Int64s, budget: int, batch_of: _Int64s) -> int:
    """Fills the gaps, then further batches while a whole budget is left; returns the number of batches."""
    pool = np.flatnonzero(batch_of == LEFT)
    pool = pool[np.argsort(lengths[pool], kind="stable")]
    values, counts = np.unique(lengths[pool], return_counts=True)
    histogram = _Histogram(values, counts)
    ranked = np.argsort(-gaps, kind="stable")  # equal ones are filled at once
    first = 0
    for gap, repeats in zip(*(found.tolist() for found in _runs(gaps[ranked])), strict=True):
        stop = first + repeats
        while first < stop:
            first += histogram.take(gap, first, stop - first)
    batches = len(gaps)
    while histogram.tokens >= budget:
        batches += histogram.take(budget, batches, max(1, histogram.tokens // budget))
    ranked = np.append(ranked, np.arange(len(gaps), batches))
    histogram.hand_out(pool, values, counts, ranked, batch_of)
    return batches


def _runs(values: _Int64s) -> tuple[_Int64s, _Int64s]:
    """Each value of a run of equal ones, and how long the run is."""
    begins = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    return values[begins], np.diff(np.append(begins, len(values)))


class _Histogram:
    """The lengths that are still to be placed, and the record of what was placed where."""

    def __init__(self, values: _Int64s, counts: _Int64s) -> None:
        self.values: list[int] = values.tolist()
        self.counts: list[int] = counts.tolist()
        self.tokens = int((values * counts).sum())
        self.taken: list[tuple[int, int, int, int]] = []
        """(length, first batch, how many batches, how many of the length in each)."""

    def take(self, gap: int, batch: int, limit: int) -> int:
        """Fills a gap with the longest that fits, again and again, and as many of the ``limit`` batches
        from ``batch`` on as the counts allow alike. Returns how many batches that was."""
        begin, room = len(self.taken), gap
        values, counts, high = self.values, self.counts, len(self.values)
        while high and values[0] <= gap:  # this loop is what planning costs
            high = bisect_right(values, gap, 0, high) - 1
            value, count = values[high], counts[high]
            uses = gap // value
            if uses >= count:  # a shorter one is next: removing this moves none that follows
                uses = count
                del values[high], counts[high]
            else:
                counts[high] = count - uses
            self.taken.append((value, batch, 1, uses))
            gap -= uses * value
        repeats = 1 if limit == 1 else 1 + self._alike(begin, limit - 1)
        self.tokens -= (room - gap) * repeats
        return repeats

    def _alike(self, begin: int, limit: int) -> int:
        """Repeats what was taken from ``begin`` on, in at most ``limit`` batches; returns in how many."""
        picks = self.taken[begin:]
        places = [bisect_right(self.values, value) - 1 for value, _, _, _ in picks]
        repeats = limit
        for (value, _, _, uses), place in zip(picks, places, strict=True):
            there = place >= 0 and self.values[place] == value
            repeats = min(repeats, self.counts[place] // uses if there else 0)
        if repeats:
            for number, ((value, batch, _, uses), place) in enumerate(zip(picks, places, strict=True), begin):
                self.taken[number] = (value, batch, 1 + repeats, uses)
                self.counts[place] -= repeats * uses
                if not self.counts[place]:
                    del self.values[place], self.counts[place]
        return repeats

    def hand_out(self, pool: _Int64s, values: _Int64s, counts: _Int64s, ranked: _Int64s, batch_of: _Int64s) -> None:
        """Gives each place taken an actual sequence of its length, the earliest of the order first; ``ranked`` is
        the batch behind each number that `take` was told."""
        if not self.taken:
            return
        taken = np.asarray(self.taken, dtype=np.int64)
        taken = taken[np.argsort(taken[:, 0], kind="stable")]
        length, batch, repeats, uses = taken.T
        places = repeats * uses
        entry = np.repeat(np.arange(len(taken)), places)
        slot = np.arange(len(entry))
        within = slot - (np.cumsum(places) - places)[entry]
        group = np.searchsorted(values, length)[entry]
        first_slot = np.searchsorted(group, np.arange(len(values)))
        first_piece = np.cumsum(counts) - counts
        piece = first_piece[group] + slot - first_slot[group]
        batch_of[pool[piece]] = ranked[batch[entry] + within // uses[entry]]
