"""The accounts that an audit keeps of each kind of corpus: which documents are known, whose a sequence is, how far the
cursor says that each was passed over, and what is in a document."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from neobert.data.corpus import StreamCorpus
from neobert.data.lanes import marks_of
from neobert.data.ledger import Ledger, Progress
from neobert.data.mixed import MixedCorpus
from neobert.data.mixed_streams import MixedStreamCorpus
from neobert.data.sequences import Cut, Pieces
from neobert.data.stream import StreamReader, TokenStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from neobert.data.cursor import Cursor
    from neobert.data.documents import Documents
    from neobert.data.training_data import TrainingData


@frozen(eq=False)
class Account:
    """One source's ledger, or that of all documents."""

    ledger: Ledger
    own: Callable[[Pieces], Pieces]
    """Its sequences among those of a plan, by its own document numbers."""
    progress: Callable[[Cursor], Progress]
    documents: Documents | TokenStream
    offset: int = 0
    """Number in ``documents`` of its first one."""

    def contents(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[Any]]]:
        """These documents, each with its tokens."""
        if not isinstance(self.documents, TokenStream):
            for row in rows.tolist():
                yield row, self.documents.ids(row + self.offset, 0, int(self.ledger.cut.lengths[row]))
            return
        reader, size = StreamReader(self.documents), self.documents.window
        for number in np.unique(rows // size).tolist():
            window = reader.read(number)
            for row in rows[rows // size == number].tolist():
                yield row, window.row(row)


def accounts(data: TrainingData, micro_batches: int) -> list[Account]:
    """For a walk over so many micro-batches of all ranks. Streams are read once more for it, by themselves."""
    corpus = data.corpus
    if isinstance(corpus, MixedCorpus):
        return [_stored_source(corpus, number) for number in range(len(corpus.lanes))]
    if isinstance(corpus, MixedStreamCorpus):
        return [_apart(data, corpus, number, micro_batches) for number in range(len(corpus.parts))]
    size, window = data.shape.budget if data.shape.packed else data.shape.sequences, data.collator_keys.packing_window
    if isinstance(corpus, StreamCorpus):
        cut = _read(corpus.stream, corpus.body, corpus.overflow, (micro_batches + 2) * size, packed=data.shape.packed)
        ledger = Ledger(cut)

        def of_stream(cursor: Cursor) -> Progress:
            return Progress(cursor.epoch, int(ledger.first[min(cursor.window * window, len(ledger.first) - 1)]))

        return [Account(ledger, lambda pieces: pieces, of_stream, corpus.stream)]
    assert corpus.documents is not None
    everything = Ledger(corpus.cut)

    def of_order(cursor: Cursor) -> Progress:
        return Progress(cursor.epoch, min(cursor.window * window, len(everything.seen)))

    return [Account(everything, lambda pieces: pieces, of_order, corpus.documents)]


def _stored_source(corpus: MixedCorpus, number: int) -> Account:
    lane = corpus.lanes[number]
    first, last = list(pairwise(corpus.documents.bounds.tolist()))[number]
    ledger = Ledger(Cut(corpus.cut.lengths[first:last], corpus.body, corpus.overflow), lane.name)

    def own(pieces: Pieces) -> Pieces:
        # The last source takes what is no document at all, to be told of.
        inside = pieces.document >= first
        inside &= (pieces.document < last) | (number == len(corpus.lanes) - 1)
        found = pieces[inside]
        return Pieces(found.document - first, found.start, found.stop)

    return Account(ledger, own, partial(_stored_progress, number=number), corpus.documents, first)


def _stored_progress(cursor: Cursor, number: int) -> Progress:
    mark = marks_of(cursor, number + 1)[number]
    return Progress(mark.epoch, mark.sequences)


def _apart(data: TrainingData, corpus: MixedStreamCorpus, number: int, micro_batches: int) -> Account:
    name = corpus.mixture.names[number]
    part = corpus.parts[name]

    def own(pieces: Pieces) -> Pieces:
        found = pieces[pieces.document % len(corpus.parts) == number]
        return Pieces(found.document // len(corpus.parts), found.start, found.stop)

    if not isinstance(part, TokenStream):
        return Account(Ledger(corpus.cuts[name], name), own, partial(_stored_progress, number=number), part)
    source = corpus.source(data.options.seed)
    source.close()
    most = (micro_batches + 2 + len(corpus.parts)) * data.most_tokens + 2 * source.length
    wanted = int(source.lanes[number].share * most)
    ledger = Ledger(_read(part, corpus.body, corpus.overflow, wanted), name)

    def of_stream(cursor: Cursor) -> Progress:
        mark = marks_of(cursor, len(corpus.parts))[number]
        rows = min(mark.window * part.window, len(ledger.first) - 1)
        return Progress(mark.epoch, int(ledger.first[rows]) + mark.sequences)

    return Account(ledger, own, of_stream, part)


def _read(stream: TokenStream, body: int, overflow: Any, wanted: int, *, packed: bool = True) -> Cut:
    """A stream's documents up to the window after that with so many tokens, or sequences."""
    reader, lengths, filled, more = StreamReader(stream), [stream.first.lengths[:0]], 0, True
    while more and filled >= 0:
        window = reader.read(len(lengths) - 1)
        lengths.append(window.lengths)
        cut = Cut(window.lengths, body, overflow)
        filled = -1 if filled >= wanted else filled + (cut.tokens if packed else len(cut))
        more = window.more
    return Cut(np.concatenate(lengths), body, overflow)
