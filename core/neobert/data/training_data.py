"""Training data: from a cursor to the batches of every step that follows."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from attrs import field, frozen

from neobert.data.collate import BatchMaker, CollatorRecipe, Request
from neobert.data.cursor import Cursor
from neobert.data.loader import load
from neobert.data.plan import OrderedSource, Planner, Shape
from neobert.data.report import DataReport
from neobert.data.sequences import Cut, Pieces, SpecialTokens, body_length
from neobert.errors import UserError
from neobert.seeding import derive_seed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray

    from neobert.batch import Batch
    from neobert.data.documents import Documents
    from neobert.served import CollatorKeys, DatasetKeys


@frozen(eq=False)
class MicroBatch:
    """A batch, and the seed for torch's generators before its forward pass."""

    batch: Batch
    seed: int


@frozen(eq=False)
class StepBatches:
    """What this rank trains on in one step."""

    step: int
    epoch: int
    """Of the cursor at the step's start."""
    micro_batches: tuple[MicroBatch, ...]
    cursor: Cursor
    """After the step, over all ranks: for the checkpoint."""


@frozen(kw_only=True)
class StepOptions:
    """How a step is made of micro-batches, and who makes which."""

    per_device_train_batch_size: int
    gradient_accumulation_steps: int = 1
    enforce_full_packed_batches: bool = True
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    pin_memory: bool = False


@frozen(eq=False)
class _Step:
    """A planned step."""

    epoch: int
    requests: tuple[Request, ...]
    """Of this rank."""
    seeds: tuple[int, ...]
    cursor: Cursor


@frozen(eq=False, kw_only=True)
class TrainingData:
    """All batches of a run, as a function of (seed, step): see `steps`."""

    documents: Documents
    special: SpecialTokens
    collator: CollatorRecipe
    dataset_keys: DatasetKeys
    collator_keys: CollatorKeys
    options: StepOptions
    pad_token_id: int = 0
    _cut: Cut = field(init=False)
    _planner: Planner = field(init=False)
    _running: list[Generator[StepBatches]] = field(init=False, factory=list)

    @_cut.default
    def _make_cut(self) -> Cut:
        body = body_length(self.dataset_keys.max_seq_length, self.special)
        cut = Cut(self.documents.lengths, body, self.collator_keys.overflow)
        if not len(cut):
            msg = f"no document to train on: of {len(self.documents)}, every one is empty or dropped as too long"
            raise UserError(msg)
        return cut

    @_planner.default
    def _make_planner(self) -> Planner:
        source = OrderedSource(self._cut, self.collator_keys.packing_window, self.options.seed)
        shape = Shape(
            sequences=self.options.per_device_train_batch_size,
            max_seq_length=self.dataset_keys.max_seq_length,
            special=self.special.count,
            packed=self.collator_keys.pack_sequences,
            full=self.options.enforce_full_packed_batches,
            group_by_length=self.collator_keys.group_by_length,
        )
        return Planner(source, shape, self.options.seed)

    @property
    def fingerprint(self) -> str:
        """The identity of what is trained on: tokens and special tokens, in the dataset's order."""
        text = f"{self.documents.fingerprint} {self.special.prefix} {self.special.suffix}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def start(self) -> Cursor:
        """The cursor of a run that has done nothing."""
        return Cursor()

    def steps(self, cursor: Cursor, first_step: int) -> Iterator[StepBatches]:
        """Step ``first_step`` and all after it, without end, from where the cursor stands.

        The same cursor and step give the same batches, bit for bit, however many workers make them.
        """
        self._check(cursor)
        steps = self._steps(cursor, first_step)
        self._running.append(steps)
        return steps

    def _steps(self, cursor: Cursor, step: int) -> Generator[StepBatches]:
        planned: deque[_Step] = deque()
        requests = self._requests(cursor, step, planned)
        batches = load(self._maker(), requests, self.dataset_keys, pin_memory=self.options.pin_memory)
        while True:
            made = [next(batches) for _ in range(self.options.gradient_accumulation_steps)]
            plan = planned.popleft()
            micro_batches = tuple(MicroBatch(batch, seed) for batch, seed in zip(made, plan.seeds, strict=True))
            yield StepBatches(step, plan.epoch, micro_batches, plan.cursor)
            step += 1

    def pieces(self, cursor: Cursor) -> Iterator[tuple[Pieces, Cursor]]:
        """The plan alone: every micro-batch of all ranks from the cursor on, with the cursor after it."""
        return self._planner.micro_batches(cursor)

    @property
    def report(self) -> DataReport:
        """Counts over one epoch, and the fill of the first window."""
        lengths = self._cut.lengths
        empty = int((lengths == 0).sum())
        over = {name: self._cut.over if self._cut.overflow == name else 0 for name in ("split", "truncate", "drop")}
        return DataReport(
            documents=len(lengths) - empty,
            tokens=int(lengths.sum(dtype="int64")),
            sequences=len(self._cut),
            empty=empty,
            one_token=int((lengths == 1).sum()),
            split=over["split"],
            truncated=over["truncate"],
            dropped=over["drop"],
            window=self.collator_keys.packing_window,
            fill=self._fill(),
        )

    def token_counts(self, vocab_size: int) -> NDArray[np.int64]:
        """(vocab_size,) how often each id stands in the documents; special tokens around them not counted."""
        counts = np.zeros(vocab_size, dtype=np.int64)
        for document, length in enumerate(self.documents.lengths.tolist()):
            ids = self.documents.ids(document, 0, length)
            counts += np.bincount(ids, minlength=vocab_size)
        return counts

    def close(self) -> None:
        """Ends the workers of every `steps` that was begun."""
        while self._running:
            self._running.pop().close()

    def _fill(self) -> float:
        shape = self._planner.shape
        if not shape.packed:
            return 1.0
        plan = self._planner.plan(Cursor()).micro_batches
        tokens = sum(int(pieces.lengths.sum()) + len(pieces) * shape.special for pieces in plan)
        return tokens / (len(plan) * shape.budget)

    def _maker(self) -> BatchMaker:
        pad_to = self._planner.shape.budget if self._planner.shape.packed else None
        return BatchMaker(self.documents, self.special, self.collator, pad_to=pad_to, pad_token_id=self.pad_token_id)

    def _requests(self, cursor: Cursor, first_step: int, planned: deque[_Step]) -> Iterator[Request]:
        for step in self._planned(cursor, first_step):
            planned.append(step)
            yield from step.requests

    def _planned(self, cursor: Cursor, step: int) -> Iterator[_Step]:
        """Every step's requests. The micro-batch's number g in the step is all that tells ranks apart."""
        options = self.options
        stream = self._planner.micro_batches(cursor)
        wanted = range(options.rank, options.gradient_accumulation_steps * options.world_size, options.world_size)
        while True:
            epoch = cursor.epoch
            requests = []
            for g in range(options.gradient_accumulation_steps * options.world_size):
                pieces, cursor = next(stream)
                if g in wanted:
                    requests.append(Request(pieces, derive_seed(options.seed, "batch", epoch, step, g)))
            seeds = tuple(derive_seed(options.seed, "forward", epoch, step, g) for g in wanted)
            yield _Step(epoch, tuple(requests), seeds, cursor)
            step += 1

    def _check(self, cursor: Cursor) -> None:
        """A cursor of other data must not pass for one of this."""
        pieces = Pieces.from_tuples(cursor.carry)
        fits = not len(pieces) or (
            pieces.document.max() < len(self.documents)
            and (pieces.start < pieces.stop).all()
            and (pieces.stop <= self._cut.lengths[pieces.document]).all()
            and (pieces.lengths <= self._cut.body).all()
        )
        if not fits or not self._planner.source.has(cursor.epoch, cursor.window):
            msg = f"the data position {cursor} does not fit this data: it belongs to other data or options"
            raise UserError(msg)
