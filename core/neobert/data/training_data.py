"""Training data: from a cursor to the batches of every step that follows."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from contextlib import closing, contextmanager
from functools import cached_property
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from neobert.data.collate import BatchMaker, CollatorRecipe, ExampleMaker, Request
from neobert.data.cursor import Cursor, Cursors, Place
from neobert.data.loader import load
from neobert.data.plan import Planner, Shape
from neobert.data.report import DataReport
from neobert.data.sharing import Share, own_place, placed
from neobert.data.shortening import shortened
from neobert.data.step_options import StepOptions
from neobert.errors import UserError
from neobert.seeding import derive_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from neobert.batch import Batch
    from neobert.data.corpus import Corpus
    from neobert.data.example_report import ExampleCounts
    from neobert.data.plan import Source
    from neobert.data.sequences import Pieces, SpecialTokens
    from neobert.served import CollatorKeys, DatasetKeys


@frozen(eq=False)
class MicroBatch:
    """A batch, and the seed for torch's generators before its forward pass."""

    batch: Batch
    seed: int
    pieces: Pieces | None = None
    """What it was made of, one for each of the collator's examples; one of special tokens alone is empty."""


@frozen(eq=False)
class StepBatches:
    """What this rank trains on in one step."""

    step: int
    epoch: int
    """Of the cursor at the step's start."""
    micro_batches: tuple[MicroBatch, ...]
    cursor: Place
    """After the step, over all ranks: for the checkpoint. Where a stream is shared out by file, of this rank alone:
    `sharing.join_places` makes one of all ranks'."""
    source_tokens: Mapping[str, int] = field(factory=dict)
    """Of a mixture: how many tokens of each source all ranks train on."""
    last: bool = False
    """The data ends after this step."""
    left_out: Mapping[str, int] = field(factory=dict)
    """Of a stream: rows of the windows that begin in this step that are damaged, empty or cut."""
    objective: str = ""
    """The name of the objective that the step is of, where there are several."""
    num_tokens: int = field()
    """Of these micro-batches; once ranks have told each other, of all ranks'."""

    @num_tokens.default
    def _own_tokens(self) -> int:
        return sum(micro.batch.num_tokens for micro in self.micro_batches)


@frozen(eq=False)
class _Step:
    """A planned step."""

    number: int
    epoch: int
    requests: tuple[Request, ...]
    """Of this rank."""
    seeds: tuple[int, ...]
    cursor: Cursor
    source_tokens: Mapping[str, int]
    left_out: Mapping[str, int]
    last: bool = False


@frozen(eq=False, kw_only=True)
class TrainingData:
    """All batches of a run, as a function of (seed, step): see `steps`."""

    corpus: Corpus
    special: SpecialTokens
    collator: CollatorRecipe
    dataset_keys: DatasetKeys
    collator_keys: CollatorKeys
    options: StepOptions
    pad_token_id: int = 0
    share: Share | None = None
    """The files of a stream that are this rank's; None where all ranks read all rows."""
    counts: ExampleCounts | None = None
    """Where rows are examples, what became of them; ``special`` is empty then, as their lengths have it."""
    watch: Callable[[Source, Pieces], None] | None = None
    """Told of every micro-batch that `pieces` gives, while the source is at its plan: for an audit."""
    shape: Shape = field(init=False)
    _running: list[Generator[StepBatches]] = field(init=False, factory=list)

    @shape.default
    def _shape(self) -> Shape:
        return Shape(
            sequences=self.options.per_device_train_batch_size,
            max_seq_length=self.dataset_keys.max_seq_length,
            special=self.special.count,
            packed=self.collator_keys.pack_sequences,
            full=self.options.enforce_full_packed_batches,
            group_by_length=self.collator_keys.group_by_length,
        )

    @property
    def fingerprint(self) -> str:
        """The identity of what is trained on: tokens and special tokens, in the dataset's order."""
        # Each rank's share has other tokens: they are compared with what the cursor says of them.
        content = self.corpus.fingerprint if self.share is None else f"{self.share.files} files"
        text = f"{content} {self.special.prefix} {self.special.suffix}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def start(self) -> Cursor:
        """The cursor of a run that has done nothing."""
        return Cursor()

    def place(self, value: Mapping[str, Any]) -> Cursor:
        """The cursor that a checkpoint has as JSON. Raises ValueError for anything else."""
        return Cursor.from_json(value)

    def steps(self, cursor: Place, first_step: int) -> Iterator[StepBatches]:
        """Step ``first_step`` and all after it, from where the cursor stands: without end, unless the data has one.

        The same cursor and step give the same batches, bit for bit, however many workers make them.
        """
        steps = self._steps(self.own_place(cursor), first_step, self._content)
        self._running.append(steps)
        return steps

    def own_place(self, cursor: Place) -> Cursor:
        """This rank's place of a checkpoint's. Raises UserError where it is none in this data."""
        if isinstance(cursor, Cursors):
            msg = f"the data position is that of several objectives ({', '.join(cursor.of)}), and this run has one"
            raise UserError(msg)
        cursor = own_place(cursor, self.share, self._content)
        if not self.corpus.fits(cursor):
            msg = f"the data position {cursor} does not fit this data: it belongs to other data or options"
            raise UserError(msg)
        return cursor

    @property
    def _content(self) -> str:
        """What tells a share from another one with as many files."""
        return self.corpus.fingerprint if self.share else ""

    def _steps(self, cursor: Cursor, step: int, content: str) -> Generator[StepBatches]:
        planned: deque[_Step] = deque()
        with self.planner() as planner:
            batches = self._batches(self._planned(planner, cursor, step), planned)
            for first in batches:
                plan = planned.popleft()  # there since its first batch was asked for
                made = (first, *islice(batches, len(plan.requests) - 1))
                micro_batches = tuple(map(MicroBatch, made, plan.seeds, map(self._examples, plan.requests)))
                after = placed(plan.cursor, self.share, content)
                step = plan.number
                yield StepBatches(step, plan.epoch, micro_batches, after, plan.source_tokens, plan.last, plan.left_out)
                if plan.last:
                    return
                step += 1
        msg = (
            f"the data ends before step {step + 1} is full, as its mixture says: nothing is left to train on\n"
            'when_exhausted = "repeat" goes on from there, with trainer.allow_changes = ["dataset"]'
        )
        raise UserError(msg)

    def _examples(self, request: Request) -> Pieces:
        """What the collator's examples hold."""
        if request.limit is None:
            return request.pieces
        return shortened(request.pieces, self.special, request.limit)[0]

    def pieces(self, cursor: Cursor) -> Iterator[tuple[Pieces, Cursor]]:
        """The plan alone: every micro-batch of all ranks from the cursor on, with the cursor after it."""
        with self.planner() as planner:
            for pieces, after in planner.micro_batches(cursor):
                if self.watch is not None:
                    self.watch(planner.source, pieces)
                yield pieces, after

    @cached_property
    def report(self) -> DataReport:
        """Counts over one epoch, or a stream's first window, and the fill of the first window."""
        cut = self.corpus.cut
        sources = self.corpus.sources
        left_out = sum(source.too_short + source.too_long for source in sources)
        empty = int((cut.lengths == 0).sum()) - left_out
        over = dict.fromkeys(("split", "truncate", "drop"), 0) | {cut.overflow: cut.over}
        return DataReport(
            documents=len(cut.lengths) - empty - left_out,
            tokens=int(cut.lengths.sum(dtype="int64")),
            sequences=len(cut),
            empty=empty,
            one_token=int((cut.lengths == 1).sum()),
            split=over["split"],
            truncated=over["truncate"],
            dropped=over["drop"],
            left_out=int(cut.lengths.sum(dtype="int64")) - cut.tokens,
            trained_tokens=cut.tokens + len(cut) * self.special.count,
            window=self.collator_keys.packing_window,
            fill=self._fill(),
            streaming=self.corpus.documents is None,
            sources=sources,
            examples=self.counts,
        )

    def token_counts(self, vocab_size: int) -> NDArray[np.int64]:
        """(vocab_size,) how often each id stands in the documents; special tokens around them not counted."""
        return self.corpus.token_counts(vocab_size)

    def close(self) -> None:
        """Ends the workers of every `steps` that was begun."""
        while self._running:
            self._running.pop().close()

    @property
    def most_tokens(self) -> int:
        """Of a micro-batch; where a number of examples are counted of a stream, as far as its first window tells."""
        if self.counts is None or self.shape.packed:
            return self.shape.budget
        return max(1, int(self.corpus.cut.lengths.max(initial=0))) * self.shape.sequences

    @contextmanager
    def planner(self) -> Iterator[Planner]:
        """Plans over this data, for as long as its source is open."""
        with closing(self.corpus.source(self.options.seed)) as source:
            yield Planner(source, self.shape, self.options.seed)

    def _fill(self) -> float:
        shape = self.shape
        if not shape.packed:
            return 1.0
        with self.planner() as planner:
            plan = planner.plan(Cursor())
        tokens = int(plan.pieces.lengths.sum()) + len(plan.pieces) * shape.special
        return tokens / (len(plan) * shape.budget)

    def _maker(self) -> BatchMaker:
        pad_to = self.shape.budget if self.shape.packed else None
        make = BatchMaker if self.counts is None else ExampleMaker
        return make(self.corpus.documents, self.special, self.collator, pad_to=pad_to, pad_token_id=self.pad_token_id)

    def _batches(self, steps: Iterator[_Step], planned: deque[_Step]) -> Iterator[Batch]:
        """Of these steps, each put into ``planned`` when its first batch is asked for."""
        lasting = self.dataset_keys.persistent_workers is not False
        for _, together in groupby(steps, key=lambda step: None if lasting else step.epoch):
            requests = self._requests(together, planned)
            yield from load(self._maker(), requests, self.dataset_keys, pin_memory=self.options.pin_memory)

    def _requests(self, steps: Iterator[_Step], planned: deque[_Step]) -> Iterator[Request]:
        for step in steps:
            planned.append(step)
            yield from step.requests

    def _planned(self, planner: Planner, cursor: Cursor, first_step: int) -> Iterator[_Step]:
        """Every step, the last one marked where the data has an end."""
        steps = self._whole_steps(planner, cursor, first_step)
        if not planner.source.over(1):
            yield from steps
            return
        step = next(steps, None)
        while step is not None:
            following = next(steps, None)
            yield evolve(step, last=following is None)
            step = following

    def _whole_steps(self, planner: Planner, cursor: Cursor, first_step: int) -> Iterator[_Step]:
        """Every step's requests. The micro-batch's number g in the step is all that tells ranks apart."""
        options = self.options
        stream = planner.micro_batches(cursor)
        for step in options.steps(first_step):
            in_step, limit = options.in_step(step), options.limit(step)
            wanted = range(options.rank, in_step, options.world_size)
            epoch, requests, tokens, left_out = cursor.epoch, [], Counter[str](), Counter[str]()
            for g in range(in_step) if self.share is None else wanted:
                found = next(stream, None)
                if found is None:
                    return  # what is left fills no step
                if cursor.position == 0:  # the first of a plan, whose windows are read now and never again
                    left_out.update(planner.source.counts())
                pieces, cursor = found
                tokens.update(self.corpus.source_tokens(pieces))
                if g in wanted:
                    seed = derive_seed(options.seed, "batch", epoch, step, g)
                    requests.append(Request(pieces, seed, planner.source.ids(pieces), limit))
            seeds = tuple(derive_seed(options.seed, "forward", epoch, step, g) for g in wanted)
            yield _Step(step, epoch, tuple(requests), seeds, cursor, tokens, left_out)
