"""A mixture of stored documents: which rows are whose, what the filters leave, and each source's share."""

from __future__ import annotations

import hashlib
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, field, frozen

from neobert.data.documents import Documents, count_tokens
from neobert.data.lanes import StoredLane, lane_seed
from neobert.data.mixed_source import MixedSource
from neobert.data.report import SourceReport
from neobert.data.sequences import Cut
from neobert.errors import UserError
from neobert.mixture import Mixture, MixtureSource
from neobert.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from neobert.data.cursor import Cursor
    from neobert.data.joined_keys import JoinedKeys
    from neobert.data.sequences import Pieces


@frozen(eq=False)
class JoinedDocuments:
    """The documents of several sources, one after another."""

    parts: Mapping[str, Documents]
    bounds: NDArray[np.int64] = field(init=False, repr=False)
    """(sources + 1,) the number of each source's first document."""
    _stores: tuple[Documents, ...] = field(init=False, repr=False)

    @bounds.default
    def _bounds(self) -> NDArray[np.int64]:
        return np.cumsum([0, *self.sizes.values()], dtype=np.int64)

    @_stores.default
    def _in_order(self) -> tuple[Documents, ...]:
        return tuple(self.parts.values())

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """See `Documents`. Made when it is asked for: workers do without."""
        return np.concatenate([part.lengths for part in self.parts.values()])

    @property
    def sizes(self) -> dict[str, int]:
        """How many documents each source has."""
        return {name: len(part) for name, part in self.parts.items()}

    @property
    def fingerprint(self) -> str:
        """Of all of them, in order, and under their names."""
        text = " ".join(f"{name!r}:{part.fingerprint}" for name, part in self.parts.items())
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return int(self.bounds[-1])

    def __reduce__(self) -> tuple[Any, ...]:
        return JoinedDocuments, (self.parts,)

    def ids(self, document: int, start: int, stop: int) -> NDArray[np.integer[Any]]:
        """Tokens ``start:stop`` of a document."""
        part = int(np.searchsorted(self.bounds, document, side="right")) - 1
        return self._stores[part].ids(document - int(self.bounds[part]), start, stop)

    def example(self, document: int) -> dict[str, Any]:
        """What the collator gets of a document that is an example."""
        part = int(np.searchsorted(self.bounds, document, side="right")) - 1
        store: Any = self._stores[part]
        found: dict[str, Any] = store.example(document - int(self.bounds[part]))
        return found


@frozen(eq=False)
class MixedCorpus:
    """Documents of several sources, mixed by tokens. Raises UserError where a source has nothing left to train on."""

    documents: JoinedDocuments
    mixture: Mixture
    body: int
    overflow: Any
    size: int
    """Sequences a window, on average."""
    table: JoinedKeys | None = None
    """Of examples whose texts are kept apart."""
    cut: Cut = field(init=False)
    """Of all documents; those that a filter leaves out count as empty."""
    lanes: tuple[StoredLane, ...] = field(init=False)
    """Of seed 0."""

    @cut.default
    def _cut(self) -> Cut:
        lengths = self.documents.lengths.copy()
        for source, stretch in self._stretches():
            short, long = source.out_of_bounds(lengths[stretch])
            lengths[stretch][short | long] = 0
        return Cut(lengths, self.body, self.overflow)

    @lanes.default
    def _lanes(self) -> tuple[StoredLane, ...]:
        tokens = {source.name: self.cut.tokens_of(self.cut.lengths[stretch]) for source, stretch in self._stretches()}
        for source, stretch in self._stretches():
            if not tokens[source.name]:
                raise UserError(nothing_left(source, self.documents.lengths[stretch], self.body))
        bounds = self.documents.bounds
        firsts = (bounds if self.cut.first is None else self.cut.first[bounds]).tolist()
        names, shares = self.mixture.names, self.mixture.shares(tokens)
        return tuple(
            StoredLane(name, self.cut, first, last - first, tokens[name], share, lane_seed(0, name))
            for name, (first, last), share in zip(names, pairwise(firsts), shares, strict=True)
        )

    @property
    def fingerprint(self) -> str:
        return self.documents.fingerprint

    @property
    def sources(self) -> tuple[SourceReport, ...]:
        found = []
        for (source, stretch), lane in zip(self._stretches(), self.lanes, strict=True):
            short, long = source.out_of_bounds(self.documents.lengths[stretch])
            found.append(
                SourceReport(
                    name=source.name,
                    share=lane.share,
                    documents=int(np.count_nonzero(self.cut.lengths[stretch])),
                    tokens=lane.tokens,
                    sequences=lane.sequences,
                    too_short=int(short.sum()),
                    too_long=int(long.sum()),
                )
            )
        return tuple(found)

    def source_tokens(self, pieces: Pieces) -> dict[str, int]:
        tokens = np.bincount(self._numbers(pieces), weights=pieces.lengths, minlength=len(self.lanes))
        return {lane.name: int(count) for lane, count in zip(self.lanes, tokens, strict=True)}

    def source_names(self, pieces: Pieces) -> list[str]:
        return [self.lanes[number].name for number in self._numbers(pieces).tolist()]

    def source(self, seed: int) -> MixedSource:
        lanes = tuple(evolve(lane, seed=lane_seed(seed, lane.name)) for lane in self.lanes)
        sequences_a_token = sum(lane.share * lane.sequences / lane.tokens for lane in lanes)
        length = max(1, round(self.size / sequences_a_token))
        return MixedSource(
            lanes,
            length,
            stop=self.mixture.when_exhausted == "stop",
            table=self.table,
            source_of=self._numbers if self.mixture.one_source_a_batch else None,
        )

    def fits(self, cursor: Cursor) -> bool:
        return self.source(0).stands_at(cursor, self.body) and self.cut.gives(cursor.carry)

    def token_counts(self, vocab_size: int) -> NDArray[np.int64]:
        counts = np.zeros(vocab_size, dtype=np.int64)
        for (_, stretch), part in zip(self._stretches(), self.documents.parts.values(), strict=True):
            counts += count_tokens(part, self.cut.lengths[stretch], vocab_size)
        return counts

    def _numbers(self, pieces: Pieces) -> NDArray[np.int64]:
        """Of each sequence's source."""
        return np.searchsorted(self.documents.bounds, pieces.document, side="right") - 1

    def _stretches(self) -> Iterator[tuple[MixtureSource, slice]]:
        """Each source and the numbers of its documents."""
        stretches = (slice(start, stop) for start, stop in pairwise(self.documents.bounds.tolist()))
        return zip(self.mixture.sources, stretches, strict=True)


def nothing_left(source: MixtureSource, lengths: NDArray[np.int32], body: int) -> str:
    """Why none of a source's documents, of these lengths, is trained on; a sequence holds ``body`` tokens."""
    short, long = source.out_of_bounds(lengths)
    reasons = [
        (int(np.count_nonzero(lengths == 0)), "empty"),
        (int(short.sum()), f"shorter than min_length = {source.min_length}"),
        (int(long.sum()), f"longer than max_length = {source.max_length}"),
    ]
    left = len(lengths) - sum(count for count, _ in reasons)
    reasons.append((left, f"dropped, being longer than the {body} tokens that a sequence holds"))
    said = ", ".join(f"{count:,} {reason}" for count, reason in reasons if count)
    filled = lengths[lengths > 0]
    range_of = f"; their lengths are {filled.min()} to {filled.max()} tokens" if filled.size else ""
    return f"source {source.name!r} has nothing to train on: of {counted(len(lengths), 'document')} {said}{range_of}"
