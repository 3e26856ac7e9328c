"""What is trained on, as documents that are all there or as a stream: counted, and handed to the planner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from attrs import field, frozen

from neobert.data.documents import count_tokens
from neobert.data.plan import OrderedSource, Source
from neobert.data.sequences import Cut
from neobert.data.stream import TokenStream
from neobert.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from neobert.data.cursor import Cursor
    from neobert.data.documents import Documents
    from neobert.data.example_keys import KeyTable
    from neobert.data.report import SourceReport
    from neobert.data.sequences import Pieces


class Corpus(Protocol):
    """What `TrainingData` asks of its data."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def documents(self) -> Documents | None:
        """For workers to look up tokens in; None where tokens come with each request."""
        ...

    @property
    def cut(self) -> Cut:
        """What is known of the sequences: of all, or of a stream's first window."""
        ...

    @property
    def sources(self) -> tuple[SourceReport, ...]:
        """Of a mixture, what there is of each source; else none."""
        ...

    def source_tokens(self, pieces: Pieces) -> dict[str, int]:
        """How many tokens of these sequences are each source's; nothing where there is one source."""
        ...

    def source_names(self, pieces: Pieces) -> list[str]:
        """Each sequence's source; nothing where there is one."""
        ...

    def source(self, seed: int) -> Source:
        """A new source of windows."""
        ...

    def fits(self, cursor: Cursor) -> bool:
        """Whether the cursor can be of this data."""
        ...

    def token_counts(self, vocab_size: int) -> NDArray[np.int64]:
        """(vocab_size,) how often each id stands in the documents, or in a stream's first window."""
        ...


class OneSource:
    """What a corpus that is no mixture says of its sources."""

    __slots__ = ()

    @property
    def sources(self) -> tuple[()]:
        return ()

    def source_tokens(self, pieces: Pieces) -> dict[str, int]:
        return {}

    def source_names(self, pieces: Pieces) -> list[str]:
        return []


@frozen(eq=False)
class StoredCorpus(OneSource):
    """Documents that are all there."""

    documents: Documents
    body: int
    overflow: Any
    window: int
    """Sequences a window."""
    table: KeyTable | None = None
    """Of examples whose texts are kept apart."""
    cut: Cut = field(init=False)

    @cut.default
    def _cut(self) -> Cut:
        cut = Cut(self.documents.lengths, self.body, self.overflow)
        if not len(cut):
            msg = f"no document to train on: of {len(self.documents)}, every one is empty or dropped as too long"
            raise UserError(msg)
        return cut

    @property
    def fingerprint(self) -> str:
        return self.documents.fingerprint

    def source(self, seed: int) -> Source:
        return OrderedSource(self.cut, self.window, seed, self.table)

    def fits(self, cursor: Cursor) -> bool:
        return cursor.window * self.window < len(self.cut) and not cursor.marks and self.cut.gives(cursor.carry)

    def token_counts(self, vocab_size: int) -> NDArray[np.int64]:
        return count_tokens(self.documents, self.documents.lengths, vocab_size)


@frozen(eq=False)
class StreamCorpus(OneSource):
    """Documents that come one after another."""

    stream: TokenStream
    body: int
    overflow: Any
    documents: None = field(default=None, init=False)
    cut: Cut = field(init=False)

    @cut.default
    def _cut(self) -> Cut:
        return Cut(self.stream.first.lengths, self.body, self.overflow)

    @property
    def fingerprint(self) -> str:
        return self.stream.fingerprint

    def source(self, seed: int) -> Source:
        return self.stream.windows(self.body, self.overflow, seed)

    def fits(self, cursor: Cursor) -> bool:
        return not cursor.marks and all(start < stop and stop - start <= self.body for _, start, stop in cursor.carry)

    def token_counts(self, vocab_size: int) -> NDArray[np.int64]:
        first = self.stream.first
        rows = [first.row(number) for number in range(len(first.lengths))]
        return np.bincount(np.concatenate(rows), minlength=vocab_size)
