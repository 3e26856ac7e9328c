"""An audit of the plan: walked without training, is every token trained on exactly once in each completed epoch?

Counted here from nothing but the sequences that the plan gives out. At the end of a window every sequence must have
come as often as epochs are complete, or once more where the epoch that has begun has come to it, and their sum must be
what the cursor says; one that is lost, repeated, or cut elsewhere cannot keep both.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen

from neobert.data.corpus import StreamCorpus
from neobert.data.mixed import MixedCorpus
from neobert.data.sequences import Cut, Pieces
from neobert.data.stream import StreamReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from neobert.data.cursor import Cursor
    from neobert.data.evaluation import EvaluationData
    from neobert.data.training_data import TrainingData

SHOWN = 10
"""Faults of a kind that are named; all are counted."""
_Int64s = "NDArray[np.int64]"


@frozen(kw_only=True)
class Audit:
    """What the walk found."""

    facts: tuple[str, ...]
    faults: tuple[str, ...]
    """Empty: the plan does what it promises."""


@frozen
class _Stretch:
    """Sequences that are passed over together: all, or one source of a mixture."""

    name: str
    first: int
    sequences: int
    epochs: int
    """Complete passes,"""
    begun: int
    """and how many sequences the next one has come to."""


@frozen(eq=False)
class _Ledger:
    """How often each sequence came. Four bytes a sequence, and no more for a longer walk."""

    cut: Cut
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

    def enter(self, pieces: Pieces) -> None:
        """Counts sequences; one that is not a whole sequence of its document is a fault."""
        known = pieces.document < len(self.cut.lengths)
        length = np.where(known, self.cut.lengths[np.where(known, pieces.document, 0)], 0)
        whole = known & (pieces.start % self.cut.body == 0) & (pieces.start < length)
        whole &= pieces.stop == np.minimum(pieces.start + self.cut.body, length)
        number = self.first[np.where(known, pieces.document, 0)] + pieces.start // self.cut.body
        whole &= number < self.first[np.where(known, pieces.document + 1, 0)]
        for piece in pieces[~whole].to_tuples():
            self.fault("sequences that no document is cut into", _named(piece))
        np.add.at(self.seen, number[whole], 1)

    def check(self, carry: Pieces, stretches: list[_Stretch]) -> None:
        """At a window's end: what was given out, with what waits for the next window, is what the cursor says."""
        total = self.seen.copy()
        number = self.first[carry.document] + carry.start // self.cut.body
        np.add.at(total, number, 1)
        for stretch in stretches:
            counts = total[stretch.first : stretch.first + stretch.sequences]
            most = stretch.epochs + (1 if stretch.begun else 0)
            wrong = np.flatnonzero((counts < stretch.epochs) | (counts > most))
            for place in wrong[:SHOWN].tolist():
                times = f"{counts[place]} times in {stretch.epochs} complete epochs{stretch.name}"
                self.fault("sequences that did not come once an epoch", f"{self.name(stretch.first + place)}: {times}")
            self._more("sequences that did not come once an epoch", len(wrong) - min(SHOWN, len(wrong)))
            expected = stretch.epochs * stretch.sequences + stretch.begun
            if not wrong.size and int(counts.sum(dtype=np.int64)) != expected:
                self.fault("sums that are not the cursor's", f"{counts.sum()} sequences, {expected} expected")

    def name(self, number: int) -> str:
        """A sequence by its document."""
        document = int(np.searchsorted(self.first, number, side="right")) - 1
        start = (number - int(self.first[document])) * self.cut.body
        return _named((document, start, min(start + self.cut.body, int(self.cut.lengths[document]))))

    def fault(self, kind: str, text: str) -> None:
        """Names one fault, up to a limit, and counts it."""
        self.faults.setdefault(kind, [])
        if len(self.faults[kind]) < SHOWN:
            self.faults[kind].append(text)
        self._more(kind, 1)

    def _more(self, kind: str, count: int) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + count


def audit(data: TrainingData, evaluation: EvaluationData | None, steps: int) -> Audit:
    """Walks ``steps`` steps of all ranks, and on to the end of the last window that they reach into."""
    wanted = steps * data.options.gradient_accumulation_steps * data.options.world_size
    ledger, cursor, micro_batches, tokens = _Ledger(_known(data, wanted)), data.start(), 0, 0
    epochs = [0]
    for window, cursor in _windows(data, wanted):
        micro_batches += len(window)
        joined = Pieces.join(window)
        tokens += int(joined.lengths.sum())
        ledger.enter(joined)
        stretches = _stretches(data, ledger, cursor)
        if [stretch.epochs for stretch in stretches] != epochs:
            epochs = [stretch.epochs for stretch in stretches]
            ledger.check(Pieces.from_tuples(cursor.carry), stretches)
        if ledger.faults:
            break
    stretches = _stretches(data, ledger, cursor)
    if not ledger.faults:
        ledger.check(Pieces.from_tuples(cursor.carry), stretches)
    facts = [f"walked {micro_batches:,} micro-batches for {steps:,} steps: {tokens:,} tokens of documents"]
    if micro_batches < wanted:
        facts.append("the data ends there, as its mixture says")
    facts += [_passed(stretch, ledger) for stretch in stretches]
    if (left_out := int(ledger.cut.lengths.sum(dtype=np.int64)) - ledger.cut.tokens) > 0:
        facts.append(f"{left_out:,} tokens are left out, as datacollator.overflow = {ledger.cut.overflow!r} says")
    facts += _compare(data, evaluation, ledger)
    if not micro_batches:
        ledger.fault("steps that are not there", "the data ends before the first micro-batch is full")
    faults = [f"{ledger.counts[kind]:,} {kind}: {'; '.join(named)}" for kind, named in ledger.faults.items()]
    return Audit(facts=tuple(facts), faults=tuple(faults))


def _windows(data: TrainingData, wanted: int) -> Iterator[tuple[list[Pieces], Cursor]]:
    """The micro-batches of one plan after another, each with the cursor after it, until there are enough."""
    window: list[Pieces] = []
    for total, (pieces, cursor) in enumerate(data.pieces(data.start()), start=1):
        window.append(pieces)
        if cursor.position == 0:
            yield window, cursor
            window = []
            if total >= wanted:
                return


def _known(data: TrainingData, wanted: int) -> Cut:
    """The documents that the walk can come to. A stream is read once more for them, by itself.

    What the batches hold, what waits after them, what fills one more of them, and the window that does so.
    """
    corpus, shape = data.corpus, data.shape
    if not isinstance(corpus, StreamCorpus):
        return corpus.cut
    size = shape.budget if shape.packed else shape.sequences
    reader, lengths, filled, more = StreamReader(corpus.stream), [corpus.stream.first.lengths[:0]], 0, True
    while more and filled >= 0:
        window = reader.read(len(lengths) - 1)
        lengths.append(window.lengths)
        enough = filled >= (wanted + 2) * size
        cut = Cut(window.lengths, corpus.body, corpus.overflow)
        filled = -1 if enough else filled + (cut.tokens if shape.packed else len(cut))
        more = window.more
    return Cut(np.concatenate(lengths), corpus.body, corpus.overflow)


def _stretches(data: TrainingData, ledger: _Ledger, cursor: Cursor) -> list[_Stretch]:
    corpus, everything = data.corpus, int(ledger.first[-1])
    if isinstance(corpus, MixedCorpus):
        marks = cursor.marks or ((0, 0, 0),) * len(corpus.lanes)
        return [
            _Stretch(f" of source {lane.name}", lane.first, lane.sequences, epochs, begun)
            for lane, (epochs, begun, _) in zip(corpus.lanes, marks, strict=True)
        ]
    rows = cursor.window * data.collator_keys.packing_window
    begun = min(rows, everything)
    if isinstance(corpus, StreamCorpus):
        begun = int(ledger.first[min(rows, len(ledger.first) - 1)])
    return [_Stretch("", 0, everything, cursor.epoch, begun)]


def _passed(stretch: _Stretch, ledger: _Ledger) -> str:
    end = stretch.first + stretch.sequences
    documents = np.unique(np.searchsorted(ledger.first, np.arange(stretch.first, end), side="right")).size
    return (
        f"{documents:,} documents{stretch.name} as {stretch.sequences:,} sequences: {stretch.epochs:,} complete "
        f"epochs, and {stretch.begun:,} sequences of the next"
    )


def _compare(data: TrainingData, evaluation: EvaluationData | None, ledger: _Ledger) -> list[str]:
    """Whether a document that came has the tokens of an evaluation document."""
    if evaluation is None:
        return ["nothing is held out for evaluation"]
    held_out: dict[bytes, int] = {}
    lengths = evaluation.documents.lengths
    for row in np.flatnonzero(lengths).tolist():
        held_out.setdefault(_hash(evaluation.documents.ids(row, 0, int(lengths[row]))), row)
    came = np.flatnonzero(np.add.reduceat(np.append(ledger.seen, 0), ledger.first[:-1])) if len(ledger.seen) else ()
    came = np.asarray(came)[np.diff(ledger.first)[came] > 0]
    suspects = came[np.isin(ledger.cut.lengths[came], lengths)]
    compared = f"evaluation: {len(held_out):,} documents are compared by content with {len(came):,} of training"
    for row, ids in _contents(data, ledger.cut, suspects):
        if (found := held_out.get(_hash(ids))) is not None:
            ledger.fault("documents that are evaluated on and trained on", f"document {row} is evaluation row {found}")
    return [compared]


def _contents(data: TrainingData, cut: Cut, rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Each row with its tokens."""
    if data.corpus.documents is not None:
        for row in rows.tolist():
            yield row, data.corpus.documents.ids(row, 0, int(cut.lengths[row]))
        return
    assert isinstance(data.corpus, StreamCorpus)
    reader, size = StreamReader(data.corpus.stream), data.corpus.stream.window
    for number in np.unique(rows // size).tolist():
        window = reader.read(number)
        for row in rows[rows // size == number].tolist():
            yield row, window.row(row)


def _hash(ids: NDArray[Any]) -> bytes:
    return hashlib.blake2b(ids.astype(np.int64).tobytes(), digest_size=16).digest()


def _named(piece: tuple[int, int, int]) -> str:
    return "document {} tokens {}:{}".format(*piece)
