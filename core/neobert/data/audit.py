"""An audit of the plan: walked without training, is every token trained on exactly once in each completed epoch?

Counted here from nothing but the sequences that the plan gives out. At the end of a window every sequence must have
come as often as epochs are complete, or once more where the epoch that has begun has come to it, and their sum must be
what the cursor says; one that is lost, repeated, or cut elsewhere cannot keep both.
"""

from __future__ import annotations

import hashlib
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, frozen

from neobert.data.accounts import Account, accounts
from neobert.data.apart import Shared
from neobert.data.sequences import Pieces
from neobert.data.shortening import not_whole, shortened
from neobert.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from neobert.data.cursor import Cursor
    from neobert.data.evaluation import EvaluationData
    from neobert.data.ledger import Ledger
    from neobert.data.plan import Source
    from neobert.data.training_data import TrainingData


@frozen(kw_only=True)
class Audit:
    """What the walk found."""

    facts: tuple[str, ...]
    faults: tuple[str, ...]
    """Empty: the plan does what it promises."""


def audit(data: TrainingData, evaluation: EvaluationData | None, steps: int) -> Audit:
    """Walks ``steps`` steps of all ranks, and on to the end of the last window that they reach into."""
    wanted = data.options.in_steps(0, steps)
    kept, cursor, micro_batches, tokens = accounts(data, wanted), data.start(), 0, 0
    apart = _Apart(kept[0].ledger)
    data = evolve(data, watch=apart.enter)
    shortening = _Shortening(data)
    epochs = [0] * len(kept)
    for window, cursor in _windows(data, wanted):
        micro_batches += len(window)
        joined = Pieces.join(window)
        tokens += int(joined.lengths.sum())
        shortening.enter(window, kept)
        for account in kept:
            account.ledger.enter(account.own(joined))
        done = [account.progress(cursor).epochs for account in kept]
        if done != epochs:
            epochs = done
            _check(kept, cursor)
        if any(account.ledger.faults for account in kept):
            break
    if not any(account.ledger.faults for account in kept):
        _check(kept, cursor)
    if not micro_batches:
        kept[0].ledger.fault("steps that are not there", "the data ends before the first micro-batch is full")
    facts = _facts(kept, cursor, micro_batches, steps, tokens)
    if micro_batches < wanted:
        facts.insert(1, "the data ends there, as its mixture says")
    facts += [*shortening.facts(), *apart.facts(), *_compare(kept, evaluation)]
    return Audit(facts=tuple(facts), faults=tuple(line for account in kept for line in account.ledger.lines()))


class _Shortening:
    """What a length warm-up makes of the plan's sequences: are the pieces of each all of it, once and in order?"""

    def __init__(self, data: TrainingData) -> None:
        self._data = data
        self._limits = self._of_micro_batches()
        self._sequences = self._pieces = 0

    def _of_micro_batches(self) -> Iterator[int | None]:
        """Each one's limit, over all ranks, from step 0 on."""
        options = self._data.options
        for step in options.steps(0):
            yield from repeat(options.limit(step), options.in_step(step))

    def enter(self, window: list[Pieces], kept: list[Account]) -> None:
        """The micro-batches that come next."""
        for planned, limit in zip(window, self._limits, strict=False):
            if limit is None:
                continue
            pieces, sequence = shortened(planned, self._data.special, limit)
            self._sequences += len(planned)
            self._pieces += len(pieces)
            wrong = planned[not_whole(planned, pieces, sequence)]
            for account in kept if len(wrong) else ():
                for piece in account.own(wrong).to_tuples():
                    account.ledger.fault("sequences that their pieces do not make up", account.ledger.named(piece))

    def facts(self) -> Iterator[str]:
        if self._sequences:
            sequences, pieces = counted(self._sequences, "sequence"), counted(self._pieces, "piece")
            yield f"length warm-up: {sequences} came as {pieces}, which make them up token by token"


def _check(kept: list[Account], cursor: Cursor) -> None:
    carry = Pieces.from_tuples(cursor.carry)
    for account in kept:
        account.ledger.check(account.own(carry), account.progress(cursor))


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


class _Apart:
    """Whether micro-batches keep apart what they promise to."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._total = self._texts = self._sources = 0

    def enter(self, source: Source, pieces: Pieces) -> None:
        """One micro-batch of the source's current plan."""
        self._total += 1
        keys, groups = source.keys(pieces), source.groups(pieces)
        if keys is not None:
            self._texts += 1
            shared = Shared.among(keys, len(pieces))
            if shared.of:
                example, texts = next(iter(shared.of.items()))
                text = keys.beginning(example, shared.keys[texts[0]])
                self._ledger.fault("micro-batches with two examples of one text", f"number {self._total}: {text!r}")
        if groups is not None:
            self._sources += 1
            if len(set(groups.tolist())) > 1:
                self._ledger.fault("micro-batches of several sources", f"number {self._total}")

    def facts(self) -> Iterator[str]:
        """What was looked at."""
        if self._texts:
            yield f"{counted(self._texts, 'micro-batch')} looked through for two examples with a text in common"
        if self._sources:
            yield f"{counted(self._sources, 'micro-batch')} looked through for examples of several sources"


def _facts(kept: list[Account], cursor: Cursor, micro_batches: int, steps: int, tokens: int) -> list[str]:
    walked = f"walked {counted(micro_batches, 'micro-batch')} for {counted(steps, 'step')}"
    facts = [f"{walked}: {counted(tokens, 'token')} of documents"]
    facts += [account.ledger.passed(account.progress(cursor)) for account in kept]
    for account in kept:
        cut = account.ledger.cut
        if (left_out := int(cut.lengths.sum(dtype=np.int64)) - cut.tokens) > 0:
            verb = "is" if left_out == 1 else "are"
            facts.append(
                f"{counted(left_out, 'token')}{account.ledger.of_source} {verb} left out, as "
                f"datacollator.overflow = {cut.overflow!r} says"
            )
    return facts


def _compare(kept: list[Account], evaluation: EvaluationData | None) -> list[str]:
    """Whether a document that came has the tokens of an evaluation document."""
    if evaluation is None:
        return ["nothing is held out for evaluation"]
    held_out: dict[bytes, int] = {}
    lengths = evaluation.documents.lengths
    for row in np.flatnonzero(lengths).tolist():
        held_out.setdefault(_hash(evaluation.documents.ids(row, 0, int(lengths[row]))), row)
    compared = 0
    for account in kept:
        came = account.ledger.documents()
        compared += len(came)
        suspects = came[np.isin(account.ledger.cut.lengths[came], lengths)]
        for row, ids in account.contents(suspects):
            if (found := held_out.get(_hash(ids))) is not None:
                text = f"document {row}{account.ledger.of_source} is evaluation row {found}"
                account.ledger.fault("documents that are evaluated on and trained on", text)
    one = len(held_out) == 1
    return [
        f"evaluation: {counted(len(held_out), 'document')} {'is' if one else 'are'} compared by content with "
        f"{compared:,} of training"
    ]


def _hash(ids: NDArray[Any]) -> bytes:
    return hashlib.blake2b(ids.astype(np.int64).tobytes(), digest_size=16).digest()
