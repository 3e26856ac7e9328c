"""Where a mixture ends that stops with its first source: known before any step, but for streams."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from neobert.data.mixed import MixedCorpus
from neobert.data.mixed_source import MixedSource

if TYPE_CHECKING:
    from neobert.data.cursor import Cursor
    from neobert.data.training_data import TrainingData


def steps_left(data: TrainingData, cursor: Cursor, most: int, *, done: int = 0) -> int | None:
    """How many whole steps there are from a cursor on, after ``done``, where they are fewer than ``most``.

    None where they are not, and where only reading tells. Counted by planning them, which is only done where the data
    holds less than twice the tokens of ``most`` steps: micro-batches are more than half full.
    """
    corpus, options = data.corpus, data.options
    if not isinstance(corpus, MixedCorpus) or corpus.mixture.when_exhausted != "stop":
        return None
    wanted = options.in_steps(done, done + most)
    source = corpus.source(options.seed)
    source.begin(cursor)
    if source.end - cursor.window * source.length > 2 * wanted * data.most_tokens:
        return None
    found = sum(1 for _ in islice(data.pieces(cursor), wanted))
    for step in options.steps(done):
        if step >= done + most:
            break
        found -= options.in_step(step)
        if found < 0:
            return step - done
    return None


def first_out(data: TrainingData, cursor: Cursor) -> str:
    """The source that has run out, from the cursor of the last step."""
    with data.planner() as planner:
        for _ in planner.micro_batches(cursor):
            pass  # those that fill no step
        source = planner.source
    if not isinstance(source, MixedSource) or source.first_out is None:
        msg = "only a mixture that stops with its first source has an end"
        raise ValueError(msg)
    return source.first_out
