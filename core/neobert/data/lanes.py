"""The sources of a mixture, one lane each: an order of its own without end, and a mark that says where it stands."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from attrs import evolve, field, frozen

from neobert.data.cursor import Cursor
from neobert.data.examples import Examples
from neobert.data.order import shuffled
from neobert.data.sequences import Cut, Pieces
from neobert.errors import UserError
from neobert.seeding import derive_seed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from neobert.data.documents import Documents
    from neobert.data.example_keys import KeyTable
    from neobert.data.stream import StreamSource
    from neobert.data.text_keys import TextKeys


@frozen
class Mark:
    """Where a source stands."""

    epoch: int = 0
    """Passes over it that are finished."""
    window: int = 0
    """Of a stream: the window of this pass that is being read,"""
    sequences: int = 0
    """and how many of its sequences are done; of stored documents, of the pass."""
    tokens: int = 0
    """Of all sequences done, in all passes,"""
    zero: int = 0
    """and those of them that were done before the shares that hold now."""

    def to_tuple(self) -> tuple[int, int, int, int, int]:
        """For the cursor."""
        return self.epoch, self.window, self.sequences, self.tokens, self.zero


def marks_of(cursor: Cursor, sources: int) -> tuple[Mark, ...]:
    """Where each of so many sources stands when the cursor's window begins."""
    return tuple(Mark(*mark) for mark in cursor.marks) or (Mark(),) * sources


class Lane(Protocol):
    """One source's order: its passes, each shuffled, one after another without end."""

    @property
    def name(self) -> str: ...

    @property
    def share(self) -> float:
        """Of the tokens trained on."""
        ...

    @property
    def tokens(self) -> int | None:
        """Of a pass; None where only reading tells."""
        ...

    def until(self, mark: Mark, tokens: int, *, once: bool) -> tuple[Pieces, NDArray[np.int64], Mark]:
        """The sequences from the mark on whose middle lies before so many tokens of this source, in order; twice the
        place of each one's middle; and the mark after them. With ``once``, none of a second pass."""
        ...

    def stands_at(self, mark: Mark) -> bool:
        """Whether a run can have come to this mark."""
        ...

    def begin(self, carry: Pieces) -> None:
        """A plan begins, with these sequences of this source carried over."""
        ...

    def counts(self, mark: Mark) -> Mapping[str, int]:
        """Rows left out or cut of the windows that the current plan, which ends at this mark, has come through."""
        ...

    def ids(self, pieces: Pieces) -> Sequence[Any]:
        """The tokens of sequences of the current plan, or what they are as examples."""
        ...

    def keys(self, pieces: Pieces) -> TextKeys | None:
        """Of examples whose texts are kept apart."""
        ...

    def close(self) -> None:
        """No more will be asked for."""
        ...


@frozen(eq=False)
class StoredLane:
    """Documents that are all there. A pass is one permutation of their sequences."""

    name: str
    cut: Cut
    first: int
    """Number of its first sequence in the cut."""
    sequences: int
    tokens: int
    share: float
    seed: int
    documents: Documents | None = None
    """For `ids`."""
    table: KeyTable | None = None
    """For `keys`."""

    def until(self, mark: Mark, tokens: int, *, once: bool) -> tuple[Pieces, NDArray[np.int64], Mark]:
        """See `Lane`. O(what is returned)."""
        parts: list[Pieces] = []
        middles: list[NDArray[np.int64]] = []
        while not (once and mark.epoch):
            count = 64 + int(1.1 * max(0, tokens - mark.tokens) * self.sequences / self.tokens)
            places = np.arange(mark.sequences, min(mark.sequences + count, self.sequences), dtype=np.int64)
            pieces = self.cut.pieces(self.first + shuffled(places, self.sequences, self.seed, mark.epoch))
            mark, taken, middle = _taken(mark, pieces, tokens)
            parts.append(pieces[:taken])
            middles.append(middle)
            if mark.sequences == self.sequences:
                mark = evolve(mark, epoch=mark.epoch + 1, sequences=0)
            elif taken < len(places):
                break
        return _joined(parts, middles, mark)

    def stands_at(self, mark: Mark) -> bool:
        of_pass = mark.tokens - mark.epoch * self.tokens
        return mark.window == 0 and mark.sequences < self.sequences and 0 <= of_pass < self.tokens

    def begin(self, carry: Pieces) -> None:
        """Nothing to prepare."""

    def counts(self, mark: Mark) -> dict[str, int]:
        """Nothing: the report has them."""
        return {}

    def ids(self, pieces: Pieces) -> Sequence[Any]:
        assert self.documents is not None
        if isinstance(self.documents, Examples):
            return [self.documents.example(row) for row in pieces.document.tolist()]
        return [self.documents.ids(*piece) for piece in pieces.to_tuples()]

    def keys(self, pieces: Pieces) -> TextKeys | None:
        return None if self.table is None else self.table.of(pieces.document)

    def close(self) -> None:
        """Nothing is open."""


@frozen(eq=False)
class StreamLane:
    """A stream: its windows in their order, each shuffled among itself, over and over."""

    name: str
    source: StreamSource
    share: float
    tokens: None = None
    _left_out: dict[tuple[int, int], Counter[str]] = field(factory=dict, init=False)
    """By (epoch, window), of those that the current plan has read."""

    def until(self, mark: Mark, tokens: int, *, once: bool) -> tuple[Pieces, NDArray[np.int64], Mark]:
        """See `Lane`. Raises UserError where a whole pass has no sequence."""
        parts: list[Pieces] = []
        middles: list[NDArray[np.int64]] = []
        begun: Mark | None = None
        """Where the pass begins, once its beginning was seen."""
        while not (once and mark.epoch):
            begun = mark if not (mark.window or mark.sequences) else begun
            pieces = self._window(mark)
            waiting = pieces[mark.sequences :]
            mark, taken, middle = _taken(mark, waiting, tokens)
            parts.append(waiting[:taken])
            middles.append(middle)
            if mark.sequences < len(pieces):
                break
            if self.source.has(mark.epoch, mark.window + 1):
                mark = evolve(mark, window=mark.window + 1, sequences=0)
                continue
            if begun is not None and begun.tokens == mark.tokens:
                msg = (
                    f"source {self.name!r} has nothing to train on: in the whole stream, every document is empty, "
                    "left out by min_length or max_length, or dropped as too long"
                )
                raise UserError(msg)
            mark = evolve(mark, epoch=mark.epoch + 1, window=0, sequences=0)
        return _joined(parts, middles, mark)

    def stands_at(self, mark: Mark) -> bool:
        return True

    def begin(self, carry: Pieces) -> None:
        self.source.begin(Cursor(carry=carry.to_tuples()))
        self._left_out.clear()

    def counts(self, mark: Mark) -> Counter[str]:
        here = (mark.epoch, mark.window)
        return sum((found for place, found in self._left_out.items() if place < here), Counter())

    def ids(self, pieces: Pieces) -> Sequence[Any]:
        return self.source.ids(pieces)

    def keys(self, pieces: Pieces) -> TextKeys | None:
        return self.source.keys(pieces)

    def close(self) -> None:
        self.source.close()

    def _window(self, mark: Mark) -> Pieces:
        before = Counter(self.source.counts())
        pieces = self.source.window(mark.epoch, mark.window)
        self._left_out[mark.epoch, mark.window] = Counter(self.source.counts()) - before
        return pieces


def lane_seed(seed: int, name: str) -> int:
    """Of a source's own order, which depends on nothing that is mixed with it."""
    return derive_seed(seed, "mixture", name)


def _taken(mark: Mark, waiting: Pieces, tokens: int) -> tuple[Mark, int, NDArray[np.int64]]:
    """The mark after those whose middle lies before so many tokens, how many they are, twice their middles."""
    ends = mark.tokens + np.cumsum(waiting.lengths)
    middle = 2 * ends - waiting.lengths
    taken = int(np.searchsorted(middle, 2 * tokens))
    if taken:
        mark = evolve(mark, sequences=mark.sequences + taken, tokens=int(ends[taken - 1]))
    return mark, taken, middle[:taken]


def _joined(
    parts: list[Pieces], middles: list[NDArray[np.int64]], mark: Mark
) -> tuple[Pieces, NDArray[np.int64], Mark]:
    if not parts:
        return Pieces.from_tuples(()), np.empty(0, dtype=np.int64), mark
    return Pieces.join(parts), np.concatenate(middles), mark
