"""Evaluation data: the same batches, with the same masks, every time."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from attrs import evolve, field, frozen

from neobert.data.apart import Shared, in_order
from neobert.data.collate import BatchMaker, CollatorRecipe, ExampleMaker, Request
from neobert.data.packing import pack_in_order
from neobert.data.sequences import Cut, Pieces, SpecialTokens, body_length, whole
from neobert.errors import UserError
from neobert.seeding import derive_seed
from neobert.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from neobert.batch import Batch
    from neobert.data.documents import Documents
    from neobert.data.example_keys import KeyTable
    from neobert.data.example_report import ExampleCounts
    from neobert.data.joined_keys import JoinedKeys
    from neobert.served import CollatorKeys, DatasetKeys

T = TypeVar("T")


@frozen(eq=False, kw_only=True)
class EvaluationData:
    """Iterating gives this rank's batches: rows in their own order, no padding, masks fixed by the seed.

    With ``pack_sequences`` a batch has up to ``per_device_eval_batch_size * max_seq_length`` tokens, else
    ``per_device_eval_batch_size`` sequences. Batch i of all goes to rank ``i % world_size``.
    """

    documents: Documents
    special: SpecialTokens
    collator: CollatorRecipe
    dataset_keys: DatasetKeys
    collator_keys: CollatorKeys
    per_device_eval_batch_size: int
    eval_max_batches: int | None = None
    """Over all ranks."""
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    counts: ExampleCounts | None = None
    """Where rows are examples, what became of them; ``special`` is empty then, as their lengths have it."""
    table: KeyTable | JoinedKeys | None = None
    """Of examples whose texts are kept apart."""
    sources: Mapping[str, int] = field(factory=dict)
    """Of a mixture, how many of the documents each source has, in their order: no batch holds two sources, and all of
    them come by turns."""
    cut: Cut = field(init=False, repr=False)
    _batches: tuple[tuple[int, Pieces], ...] = field(init=False, repr=False)
    """(number, sequences) of this rank's."""
    _maker: BatchMaker = field(init=False, repr=False)

    @cut.default
    def _cut(self) -> Cut:
        if self.counts is not None:
            return whole(self.documents.lengths)
        body = body_length(self.dataset_keys.max_seq_length, self.special)
        return Cut(self.documents.lengths, body, self.collator_keys.overflow)

    @_batches.default
    def _plan(self) -> tuple[tuple[int, Pieces], ...]:
        cut = self.cut
        if not len(cut):
            msg = f"no document to evaluate on: of {len(self.documents)}, every one is empty or dropped as too long"
            raise UserError(msg)
        pieces = cut.pieces(np.arange(len(cut), dtype=np.int64))
        ends = [0, len(pieces)]
        if self.sources:
            ends = np.searchsorted(pieces.document, np.cumsum([0, *self.sources.values()])).tolist()
        batches = by_turns([self._batches_of(pieces[start:stop]) for start, stop in pairwise(ends)])
        numbered = list(enumerate(batches[: self.eval_max_batches]))
        return tuple(numbered[self.rank :: self.world_size])

    def _batches_of(self, pieces: Pieces) -> list[Pieces]:
        if not len(pieces):
            return []
        budget = self.per_device_eval_batch_size * self.dataset_keys.max_seq_length
        if self.counts is not None:
            pieces, batch_of = self._apart(pieces, budget)
        elif self.collator_keys.pack_sequences:
            batch_of = pack_in_order(pieces.lengths + self.special.count, budget).batch_of
        else:
            batch_of = np.arange(len(pieces)) // self.per_device_eval_batch_size
        bounds = np.searchsorted(batch_of, np.arange(batch_of[-1] + 2)).tolist()
        return [pieces[start:stop] for start, stop in pairwise(bounds)]

    def _apart(self, pieces: Pieces, budget: int) -> tuple[Pieces, NDArray[np.int64]]:
        """Examples in the order of their batches, of which none has two with a text in common."""
        keys = None if self.table is None else self.table.of(pieces.document)
        sizes = pieces.lengths
        if not self.collator_keys.pack_sequences:
            sizes, budget = np.ones_like(sizes), self.per_device_eval_batch_size
        batch_of = in_order(sizes, budget, Shared.among(keys, len(pieces))).batch_of
        order = np.argsort(batch_of, kind="stable")
        return pieces[order], batch_of[order]

    @_maker.default
    def _make_maker(self) -> BatchMaker:
        make = BatchMaker if self.counts is None else ExampleMaker
        return make(self.documents, self.special, self.collator)

    def __len__(self) -> int:
        """Batches of this rank."""
        return len(self._batches)

    def whole(self) -> EvaluationData:
        """The batches of all ranks, for one that measures alone."""
        return self if self.world_size == 1 else evolve(self, rank=0, world_size=1)

    @property
    def description(self) -> str:
        """How much there is on all ranks, for people."""
        what = "held-out sequence" if self.counts is None else "held-out example"
        data = self.whole()
        return f"{counted(data.num_sequences, what)} in {counted(len(data), 'batch')}"

    @property
    def num_sequences(self) -> int:
        """Sequences of this rank's batches."""
        return sum(len(pieces) for _, pieces in self._batches)

    def sequence(self, index: int) -> NDArray[np.int64]:
        """Sequence ``index`` of this rank's, (n,) int64 with its special tokens, before any masking."""
        for _, pieces in self._batches:
            if index < len(pieces):
                (piece,) = pieces[index : index + 1].to_tuples()
                return self.special.around(self.documents.ids(*piece))
            index -= len(pieces)
        msg = f"there are {self.num_sequences} sequences, and {index} more were asked for"
        raise IndexError(msg)

    def source_of(self, batch: int) -> str | None:
        """Which source this rank's batch of this index is of; None where there is no mixture."""
        if not self.sources:
            return None
        document = int(self._batches[batch][1].document[0])
        ends = np.cumsum([*self.sources.values()])
        return list(self.sources)[int(np.searchsorted(ends, document, side="right"))]

    def documents_of(self, batch: int) -> NDArray[np.int64]:
        """(N,) which document each sequence of this rank's batch of this index is of."""
        return self._batches[batch][1].document

    def __iter__(self) -> Iterator[Batch]:
        for number, pieces in self._batches:
            yield self._maker[Request(pieces, derive_seed(self.seed, "eval", number))]


def by_turns(groups: Sequence[Sequence[T]]) -> list[T]:
    """The items of all groups, each group's in order and spread evenly over the whole."""
    places = [((place + 0.5) / len(group), item) for group in groups for place, item in enumerate(group)]
    return [item for _, item in sorted(places, key=lambda pair: pair[0])]
