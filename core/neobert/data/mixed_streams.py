"""A mixture with streams in it: what is known of each source, and the lanes that read them."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, field, frozen

from neobert.data.corpus import StreamCorpus
from neobert.data.documents import count_tokens
from neobert.data.lanes import Lane, StoredLane, StreamLane, lane_seed
from neobert.data.mixed import nothing_left
from neobert.data.mixed_source import MixedSource
from neobert.data.report import SourceReport
from neobert.data.sequences import Cut
from neobert.data.stream import TokenStream
from neobert.errors import UserError
from neobert.mixture import Mixture, MixtureSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from neobert.data.cursor import Cursor
    from neobert.data.documents import Documents
    from neobert.data.example_keys import KeyTable
    from neobert.data.sequences import Pieces
    from neobert.data.windows import Window


class FilteredStream(TokenStream):
    """A stream whose documents that a mixture's filter leaves out count as empty."""

    def __init__(self, rows: Any, tokenizer: Any, window: int, source: MixtureSource) -> None:
        self.source = source
        label = f"train of source {source.name!r}"
        super().__init__(rows, tokenizer, window, label=label, on_damaged_row=source.on_damaged_row)

    def tokenize(self, first: int, rows: list[Any], more: bool) -> Window:
        """See `TokenStream`."""
        return filtered(super().tokenize(first, rows, more), self.source)


def filtered(window: Window, source: MixtureSource) -> Window:
    """A window without the documents that the source's filter leaves out."""
    short, long = source.out_of_bounds(window.lengths)
    lengths = np.where(short | long, 0, window.lengths).astype(np.int32)
    return evolve(window, lengths=lengths, too_short=int(short.sum()), too_long=int(long.sum()))


@frozen(eq=False)
class MixedStreamCorpus:
    """Sources of which at least one is a stream. Document d of source i of n has the number ``d * n + i``.

    Raises UserError where a source has no weight: how large a stream is, only reading it tells.
    """

    parts: Mapping[str, TokenStream | Documents]
    mixture: Mixture
    body: int
    overflow: Any
    size: int
    """Sequences a window, on average, and rows a stream's window."""
    tables: Mapping[str, KeyTable] = field(factory=dict)
    """Of stored examples whose texts are kept apart."""
    documents: None = field(default=None, init=False)
    cuts: dict[str, Cut] = field(init=False)
    """Of each source: of all its documents, or of a stream's first window."""

    @cuts.default
    def _cuts(self) -> dict[str, Cut]:
        if any(source.weight is None for source in self.mixture.sources):
            msg = "a mixture with a stream needs a weight for each source: how large a stream is, only reading it tells"
            raise UserError(msg)
        return {source.name: Cut(self._lengths(source), self.body, self.overflow) for source in self.mixture.sources}

    @cached_property
    def cut(self) -> Cut:
        """Of all that is known."""
        return Cut(np.concatenate([cut.lengths for cut in self.cuts.values()]), self.body, self.overflow)

    @property
    def fingerprint(self) -> str:
        """Of all sources, in order, and under their names."""
        text = " ".join(f"{name!r}:{part.fingerprint}" for name, part in self.parts.items())
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    @property
    def sources(self) -> tuple[SourceReport, ...]:
        return tuple(map(self._report, self.mixture.sources, self.mixture.shares({})))

    def source_tokens(self, pieces: Pieces) -> dict[str, int]:
        names = self.mixture.names
        tokens = np.bincount(pieces.document % len(names), weights=pieces.lengths, minlength=len(names))
        return {name: int(count) for name, count in zip(names, tokens, strict=True)}

    def source_names(self, pieces: Pieces) -> list[str]:
        return [self.mixture.names[number] for number in self._numbers(pieces).tolist()]

    def source(self, seed: int) -> MixedSource:
        shares = self.mixture.shares({})
        lanes = tuple(self._lane(name, share, seed) for name, share in zip(self.mixture.names, shares, strict=True))
        sequences = [len(cut) / cut.tokens if cut.tokens else 1 / self.body for cut in self.cuts.values()]
        a_token = sum(share * number for share, number in zip(shares, sequences, strict=True))
        length = max(1, round(self.size / a_token))
        return MixedSource(
            lanes,
            length,
            stop=self.mixture.when_exhausted == "stop",
            apart=True,
            source_of=self._numbers if self.mixture.one_source_a_batch else None,
        )

    def fits(self, cursor: Cursor) -> bool:
        source = self.source(0)
        stands = source.stands_at(cursor, self.body)
        source.close()
        return stands and all(start < stop <= start + self.body for _, start, stop in cursor.carry)

    def token_counts(self, vocab_size: int) -> NDArray[np.int64]:
        counts = np.zeros(vocab_size, dtype=np.int64)
        for name, part in self.parts.items():
            if isinstance(part, TokenStream):
                counts += StreamCorpus(part, self.body, self.overflow).token_counts(vocab_size)
            else:
                counts += count_tokens(part, self.cuts[name].lengths, vocab_size)
        return counts

    def _lengths(self, source: MixtureSource) -> NDArray[np.int32]:
        part = self.parts[source.name]
        if isinstance(part, TokenStream):
            return part.first.lengths
        short, long = source.out_of_bounds(part.lengths)
        lengths = np.where(short | long, 0, part.lengths).astype(np.int32)
        if not Cut(lengths, self.body, self.overflow).tokens:
            raise UserError(nothing_left(source, part.lengths, self.body))
        return lengths

    def _lane(self, name: str, share: float, seed: int) -> Lane:
        part, cut, own = self.parts[name], self.cuts[name], lane_seed(seed, name)
        if isinstance(part, TokenStream):
            return StreamLane(name, part.windows(self.body, self.overflow, own), share)
        return StoredLane(name, cut, 0, len(cut), cut.tokens, share, own, part, self.tables.get(name))

    def _numbers(self, pieces: Pieces) -> NDArray[np.int64]:
        """Of each sequence's source."""
        return pieces.document % len(self.parts)

    def _report(self, source: MixtureSource, share: float) -> SourceReport:
        part, cut = self.parts[source.name], self.cuts[source.name]
        if isinstance(part, TokenStream):
            too_short, too_long = part.first.too_short, part.first.too_long
        else:
            too_short, too_long = (int(found.sum()) for found in source.out_of_bounds(part.lengths))
        return SourceReport(
            name=source.name,
            share=share,
            documents=int(np.count_nonzero(cut.lengths)),
            tokens=cut.tokens,
            sequences=len(cut),
            too_short=too_short,
            too_long=too_long,
            streaming=isinstance(part, TokenStream),
        )
