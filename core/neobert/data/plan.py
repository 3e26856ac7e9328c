"""The plan: which sequences make up each micro-batch of the run, as a pure function of a cursor.

The stream of micro-batches is the same for every world size, accumulation setting and worker count; a step
takes the next of them. Sequences that do not fill a micro-batch wait for the next window, so none is dropped
and none repeats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from attrs import evolve, frozen

from neobert.data.arrange import arrange, refuse_over_budget
from neobert.data.cursor import Cursor
from neobert.data.order import shuffled
from neobert.data.packing import LEFT, Packing, pack
from neobert.data.sequences import Cut, Pieces
from neobert.errors import UserError
from neobert.seeding import derive_seed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from neobert.data.example_keys import KeyTable
    from neobert.data.text_keys import TextKeys


class Source(Protocol):
    """Where a planner gets its windows."""

    def begin(self, cursor: Cursor) -> None:
        """A plan begins, with the cursor's sequences carried over; what else was asked for before is done with."""
        ...

    def over(self, epoch: int) -> bool:
        """Whether the data ends before this epoch."""
        ...

    def has(self, epoch: int, window: int) -> bool:
        """Whether this epoch has such a window. The window before has been asked for."""
        ...

    def window(self, epoch: int, window: int) -> Pieces:
        """The sequences of a window of this epoch, shuffled."""
        ...

    def marks(self) -> tuple[tuple[int, ...], ...]:
        """What the cursor has to hold of the source itself, after the windows of the current plan."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Rows of the current plan's windows that are left out or cut, by what becomes of them; none where all rows
        are known, and counted, before the first."""
        ...

    def ids(self, pieces: Pieces) -> tuple[Any, ...] | None:
        """The tokens of these sequences of the current plan, or what they are as examples; None where documents hold
        them."""
        ...

    def keys(self, pieces: Pieces) -> TextKeys | None:
        """Of examples of the current plan, their texts that no two in a micro-batch may share; None of others."""
        ...

    def groups(self, pieces: Pieces) -> NDArray[np.int64] | None:
        """The source of each, where a micro-batch has one source; None where it does not matter."""
        ...

    def close(self) -> None:
        """No more will be asked for."""
        ...


@frozen(eq=False)
class OrderedSource:
    """Windows of the seeded order of all sequences."""

    cut: Cut
    size: int
    """Sequences a window."""
    seed: int
    table: KeyTable | None = None
    """Of examples whose texts are kept apart."""

    def begin(self, cursor: Cursor) -> None:
        """Nothing to prepare."""

    def over(self, epoch: int) -> bool:
        """It goes round and round."""
        return False

    def has(self, epoch: int, window: int) -> bool:
        """Every epoch has as many windows as the sequences need."""
        return window * self.size < len(self.cut)

    def window(self, epoch: int, window: int) -> Pieces:
        """O(size): no other part of the order is looked at."""
        total = len(self.cut)
        first = window * self.size
        places = np.arange(first, min(first + self.size, total), dtype=np.int64)
        return self.cut.pieces(shuffled(places, total, self.seed, epoch))

    def marks(self) -> tuple[()]:
        """Nothing: a window's place is its number's."""
        return ()

    def counts(self) -> dict[str, int]:
        """Nothing: the report has them."""
        return {}

    def ids(self, pieces: Pieces) -> None:
        """The documents hold them."""

    def keys(self, pieces: Pieces) -> TextKeys | None:
        """As the table has them."""
        return None if self.table is None else self.table.of(pieces.document)

    def groups(self, pieces: Pieces) -> None:
        """There is one source."""

    def close(self) -> None:
        """Nothing is open."""


@frozen
class Shape:
    """What a micro-batch holds."""

    sequences: int
    """per_device_train_batch_size."""
    max_seq_length: int
    special: int
    """Special tokens of a sequence."""
    packed: bool
    full: bool = True
    """Packed: what is left of a window waits for the next; otherwise it is a short micro-batch."""
    group_by_length: bool = False

    @property
    def budget(self) -> int:
        """Tokens of a packed micro-batch."""
        return self.sequences * self.max_seq_length


@frozen(eq=False)
class WindowPlan:
    """The micro-batches from one or more windows, in the order they are trained on."""

    pieces: Pieces
    """Of all micro-batches, end to end."""
    bounds: tuple[int, ...]
    """Where micro-batch i lies: ``bounds[i]:bounds[i + 1]``."""
    after: Cursor
    """The cursor once all are done."""

    def __len__(self) -> int:
        """Micro-batches."""
        return len(self.bounds) - 1

    def __getitem__(self, position: int) -> Pieces:
        return self.pieces[self.bounds[position] : self.bounds[position + 1]]


@frozen(eq=False)
class Planner:
    """Plans micro-batches from a cursor on."""

    source: Source
    shape: Shape
    seed: int

    def micro_batches(self, cursor: Cursor) -> Iterator[tuple[Pieces, Cursor]]:
        """Every micro-batch from here on, each with the cursor after it; without end, unless the data has one."""
        while len(plan := self.plan(cursor)):
            for position in range(cursor.position, len(plan)):
                done = evolve(cursor, position=position + 1)
                yield plan[position], plan.after if position + 1 == len(plan) else done
            cursor = plan.after

    def plan(self, cursor: Cursor) -> WindowPlan:
        """The plan that the cursor stands in: its window, with what was carried into it, and as many more
        windows as it takes to fill one micro-batch; no micro-batch where the data ends before one is filled."""
        pool, packing, epoch, window = self._gather(cursor)
        batch_of = self._turns(packing, cursor)
        placed = np.flatnonzero(batch_of != LEFT)
        turns = batch_of[placed].astype(np.min_scalar_type(packing.batches))  # 16 bits are sorted faster than 64
        in_turn = pool[placed[np.argsort(turns, kind="stable")]]
        counts = np.bincount(batch_of[placed], minlength=packing.batches)
        bounds = (0, *np.cumsum(counts).tolist())
        carry = pool[batch_of == LEFT].to_tuples()
        return WindowPlan(in_turn, bounds, Cursor(epoch, window, 0, carry, self.source.marks()))

    def _gather(self, cursor: Cursor) -> tuple[Pieces, Packing, int, int]:
        """Carried sequences and windows until a micro-batch is filled, how they are arranged, and the window that comes
        next."""
        carried = Pieces.from_tuples(cursor.carry)
        self.source.begin(cursor)
        parts = [carried] if cursor.carry else []
        filled = sum(self._filling(part) for part in parts)
        epoch, window = cursor.epoch, cursor.window
        wanted = self.shape.sequences
        if self.shape.packed:
            wanted = self.shape.budget if self.shape.full else 1
        while True:
            while filled < wanted and not self.source.over(epoch):
                part = self.source.window(epoch, window)
                parts.append(part)
                filled += self._filling(part)
                window += 1
                if not self.source.has(epoch, window):
                    if not any(len(part) for part in parts):
                        msg = "the data has no sequence to train on: every document is empty, or dropped as too long"
                        raise UserError(msg)
                    epoch, window = epoch + 1, 0
            pool = Pieces.join(parts or [carried])
            packing = self._arrange(pool, len(cursor.carry))
            if packing.batches or self.source.over(epoch):
                return pool, packing, epoch, window
            wanted = filled + 1  # there are enough, and not any may stand together

    def _filling(self, pieces: Pieces) -> int:
        if not self.shape.packed:
            return len(pieces)
        return int(pieces.lengths.sum()) + len(pieces) * self.shape.special

    def _arrange(self, pool: Pieces, carried: int) -> Packing:
        if self.shape.packed:
            refuse_over_budget(pool.lengths + self.shape.special, self.shape.budget)
        keys, groups = self.source.keys(pool), self.source.groups(pool)
        if keys is not None or groups is not None:
            return arrange(pool.lengths + self.shape.special, carried, keys, groups, self.shape)
        if self.shape.packed:
            lengths = pool.lengths + self.shape.special
            if lengths[:carried].sum() > self.shape.budget:  # a change of the mixture left the rest of a window
                carried = 0
            return pack(lengths, self.shape.budget, first=carried, keep_remainder=not self.shape.full)
        return self._by_count(pool.lengths)

    def _by_count(self, lengths: NDArray[np.int64]) -> Packing:
        """Batches of a fixed number of sequences, in order or by length; the newest of the rest are left."""
        batches = len(lengths) // self.shape.sequences
        batch_of = np.full(len(lengths), LEFT, dtype=np.int64)
        used = np.arange(batches * self.shape.sequences)
        ranked = used[np.argsort(lengths[: len(used)], kind="stable")] if self.shape.group_by_length else used
        batch_of[ranked] = used // self.shape.sequences
        return Packing(batch_of, batches)

    def _turns(self, packing: Packing, cursor: Cursor) -> NDArray[np.int64]:
        """Batches made by length come in a seeded order, so that long ones are not first."""
        if not (self.shape.packed or self.shape.group_by_length):
            return packing.batch_of
        key = derive_seed(self.seed, "turn", cursor.epoch, cursor.window)
        drawn = np.random.PCG64(key).random_raw(packing.batches)
        turn = np.append(np.argsort(drawn, kind="stable"), LEFT)
        turns: NDArray[np.int64] = turn[packing.batch_of]
        return turns
