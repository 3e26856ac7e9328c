"""Placing examples so that no two in a micro-batch have a text in common.

Only texts that several examples have matter. Those examples are placed one by one, the ones with the commonest text
first, each into the micro-batch that its place in the order gives it, or the next one that has room and none of its
texts; all others fill up what is left, in their order. What finds no place waits for the next window.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from neobert.data.packing import LEFT, Packing, pack

if TYPE_CHECKING:
    from neobert.data.text_keys import TextKeys

_TRIES = 32
"""Micro-batches with a gap that are looked at for an example."""
_OPEN = 8
"""Micro-batches that stay open where examples are taken as they come."""

_Int64s = NDArray[np.int64]


@frozen(eq=False)
class Shared:
    """The texts that several of some examples have, numbered."""

    of: Mapping[int, Sequence[int]]
    """Example -> its texts among them. One that has none is not there."""
    counts: Sequence[int]
    """How many examples have each,"""
    keys: Sequence[int] = ()
    """and its key."""

    @classmethod
    def among(cls, keys: TextKeys | None, examples: int) -> Shared:
        """Of so many examples with these keys; an example that has a text twice counts once."""
        if keys is None or not len(keys.key):
            return cls({}, ())
        known, number, counts = np.unique(keys.key, return_inverse=True, return_counts=True)
        often = counts[number] > 1
        number, example = np.divmod(np.unique(number[often] * examples + keys.example[often]), examples)
        counts = np.bincount(number, minlength=1)
        number, example = number[counts[number] > 1], example[counts[number] > 1]
        order = np.argsort(example, kind="stable")
        number, example = number[order], example[order]
        begins = np.flatnonzero(np.append(True, example[1:] != example[:-1])) if len(example) else example
        parts = np.split(number, begins[1:]) if len(example) else []
        of = dict(zip(example[begins].tolist(), (part.tolist() for part in parts), strict=True))
        return cls(of, counts.tolist(), known.tolist())

    def commonness(self, example: int) -> int:
        """In how many examples its commonest text is."""
        return max(self.counts[number] for number in self.of[example])


def by_count(order: _Int64s, size: int, shared: Shared) -> Packing:
    """Micro-batches of ``size`` examples, which come in this order: a permutation (n,) of their numbers."""
    batches = len(order) // size
    batch_of = np.full(len(order), LEFT, dtype=np.int64)
    if not batches:
        return Packing(batch_of, 0)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    natural = np.minimum(rank // size, batches - 1).tolist()
    places, room = _Places(batches), np.full(batches, size, dtype=np.int64)
    for example in _commonest_first(shared, rank):
        found = places.find(natural[example], shared.of[example])
        if found is not None:
            batch_of[example] = found
            room[found] -= 1
            places.take(found, shared.of[example], full=not room[found])
    alone = np.ones(len(order), dtype=np.bool_)
    alone[list(shared.of)] = False
    waiting, slots = order[alone[order]], np.repeat(np.arange(batches), room)
    taken = min(len(waiting), len(slots))
    batch_of[waiting[:taken]] = slots[:taken]
    return _whole_ones(batch_of, batches, size)


def pack_apart(lengths: _Int64s, budget: int, shared: Shared, *, carried: int, keep_remainder: bool) -> Packing:
    """As `packing.pack`, of examples of which the first were carried over; a batch may be less full."""
    front = _first_batch(lengths, budget, shared, carried)
    ahead = np.zeros(len(lengths), dtype=np.bool_)
    ahead[front] = True
    order = np.concatenate((np.asarray(front, dtype=np.int64), np.flatnonzero(~ahead)))
    packed = pack(lengths[order], budget, first=len(front))
    batch_of = np.full(len(lengths), LEFT, dtype=np.int64)
    batch_of[order] = packed.batch_of
    if shared.of and packed.batches:
        _mend(batch_of, packed.batches, lengths, budget, shared, order)
    if not keep_remainder or not (batch_of == LEFT).any():
        return Packing(batch_of, packed.batches)
    rest = np.flatnonzero(batch_of == LEFT)
    short = in_order(lengths[rest], budget, _among(shared, rest))
    batch_of[rest] = packed.batches + short.batch_of
    return Packing(batch_of, packed.batches + short.batches)


def in_order(sizes: _Int64s, budget: int, shared: Shared) -> Packing:
    """Takes examples as they come, each into the first micro-batch that is open, has room for its size and none of its
    texts, else into a new one: all are placed."""
    held: list[set[int]] = []
    gaps: list[int] = []
    batch_of, smallest, first = [], int(sizes.min(initial=budget)), 0
    for example, size in enumerate(sizes.tolist()):
        texts = shared.of.get(example, ())
        for batch in range(max(first, len(gaps) - _OPEN), len(gaps)):
            if gaps[batch] >= size and held[batch].isdisjoint(texts):
                break
        else:
            batch = len(gaps)
            gaps.append(budget)
            held.append(set())
        gaps[batch] -= size
        held[batch].update(texts)
        batch_of.append(batch)
        while first < len(gaps) and gaps[first] < smallest:
            first += 1
    return Packing(np.asarray(batch_of, dtype=np.int64), len(gaps))


class _Places:
    """Which micro-batches are full, and which have a text. What is passed over is passed over quickly ever after."""

    def __init__(self, batches: int) -> None:
        self._batches = batches
        self._full: dict[int, int] = {}
        self._have: dict[int, dict[int, int]] = {}

    def find(self, start: int, texts: Sequence[int]) -> int | None:
        """The first from ``start`` on, and round to it again, that has room and none of these texts."""
        skips = [self._full, *(self._have[text] for text in texts if text in self._have)]
        for batch, last in ((start, self._batches), (0, start)):
            while batch < last:
                found = max(_next(skip, batch) for skip in skips)
                if found == batch:
                    return batch
                batch = found
        return None

    def take(self, batch: int, texts: Iterable[int], *, full: bool) -> None:
        """A micro-batch has these texts now."""
        for text in texts:
            self._have.setdefault(text, {})[batch] = batch + 1
        if full:
            self._full[batch] = batch + 1


def _next(skip: dict[int, int], batch: int) -> int:
    """The first from ``batch`` on that is not to be skipped; the way there is made shorter."""
    found = batch
    while (onward := skip.get(found)) is not None:
        found = onward
    while batch != found:
        skip[batch], batch = found, skip[batch]
    return found


def _commonest_first(shared: Shared, rank: _Int64s) -> list[int]:
    return sorted(shared.of, key=lambda example: (-shared.commonness(example), int(rank[example])))


def _whole_ones(batch_of: _Int64s, batches: int, size: int) -> Packing:
    """Without the micro-batches that are not full."""
    filled = np.bincount(batch_of[batch_of != LEFT], minlength=batches)
    whole = filled == size
    number = np.append(np.where(whole, np.cumsum(whole) - 1, LEFT), LEFT)
    renumbered: _Int64s = number[batch_of]
    return Packing(renumbered, int(whole.sum()))


def _first_batch(lengths: _Int64s, budget: int, shared: Shared, carried: int) -> list[int]:
    """Of what was carried over, as it comes, those that one micro-batch can hold together."""
    chosen: list[int] = []
    texts: set[int] = set()
    for example in range(carried):
        own = shared.of.get(example, ())
        if lengths[example] <= budget and texts.isdisjoint(own):
            chosen.append(example)
            texts.update(own)
            budget -= int(lengths[example])
    return chosen


def _mend(batch_of: _Int64s, batches: int, lengths: _Int64s, budget: int, shared: Shared, order: _Int64s) -> None:
    """Takes out what has a text of another in its batch, and fills the gaps that this makes."""
    held: dict[int, set[int]] = {}
    """Text -> batches that have it."""
    opened: set[int] = set()
    for example in order[np.isin(order, list(shared.of))].tolist():
        batch = int(batch_of[example])
        if batch == LEFT:
            continue
        if any(batch in held.get(text, ()) for text in shared.of[example]):
            batch_of[example] = LEFT
            opened.add(batch)
        else:
            for text in shared.of[example]:
                held.setdefault(text, set()).add(batch)
    used = np.bincount(batch_of[batch_of != LEFT], weights=lengths[batch_of != LEFT], minlength=batches)
    gaps = sorted((budget - int(used[batch]), batch) for batch in opened)
    for example in order[batch_of[order] == LEFT].tolist():
        length, texts = int(lengths[example]), shared.of.get(example, ())
        first = bisect_left(gaps, (length, -1))
        for place in range(first, min(first + _TRIES, len(gaps))):
            gap, batch = gaps[place]
            if not any(batch in held.get(text, ()) for text in texts):
                batch_of[example] = batch
                del gaps[place]
                insort(gaps, (gap - length, batch))
                for text in texts:
                    held.setdefault(text, set()).add(batch)
                break


def _among(shared: Shared, examples: _Int64s) -> Shared:
    """The same of some of the examples, numbered anew."""
    of = {place: shared.of[example] for place, example in enumerate(examples.tolist()) if example in shared.of}
    return evolve(shared, of=of)
