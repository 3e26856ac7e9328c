"""Other shares from here on: a cursor of one mixture as a cursor of the same sources, mixed in another way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from neobert.data.cursor import Cursor
from neobert.data.lanes import Mark, marks_of
from neobert.data.mixed import MixedCorpus
from neobert.data.mixed_streams import MixedStreamCorpus
from neobert.data.sequences import Pieces
from neobert.errors import UserError

if TYPE_CHECKING:
    from neobert.data.training_data import TrainingData
    from neobert.mixture import Mixture


def remixed(data: TrainingData, before: Mixture, cursor: Cursor) -> Cursor:
    """Where the run goes on in ``data``, which mixes its sources in another way than ``before``.

    Each source keeps its place. What was planned under the old shares and is not trained on yet, of the window that
    the cursor stands in, comes first; from there on the new shares hold exactly, as from the start of a run. Raises
    UserError where more than the shares and the end differ: which documents there are makes a place what it is.
    """
    corpus = data.corpus
    if not isinstance(corpus, MixedCorpus | MixedStreamCorpus):
        return cursor  # refused where the steps begin
    _refuse_other_documents(before, corpus.mixture)
    old = evolve(data, corpus=evolve(corpus, mixture=before))
    if not old.corpus.fits(cursor):
        return cursor  # refused where the steps begin
    rest, marks = _rest_of_window(old, cursor)
    if corpus.mixture.when_exhausted == "stop":
        _refuse_read_through(corpus.mixture, marks)
    zeroed = tuple(evolve(mark, zero=mark.tokens).to_tuple() for mark in marks)
    return Cursor(carry=rest.to_tuples(), marks=zeroed)


def _rest_of_window(data: TrainingData, cursor: Cursor) -> tuple[Pieces, tuple[Mark, ...]]:
    """The sequences that the sources have given and that are not trained on, and where the sources stand then."""
    rest, reached = Pieces.from_tuples(cursor.carry), cursor
    if cursor.position:
        with data.planner() as planner:
            plan = planner.plan(cursor)
        rest = Pieces.join([plan.pieces[plan.bounds[cursor.position] :], Pieces.from_tuples(plan.after.carry)])
        reached = plan.after
    return rest, marks_of(reached, len(data.corpus.sources))


def _refuse_other_documents(before: Mixture, now: Mixture) -> None:
    bare = [
        [evolve(source, weight=None, on_damaged_row="skip") for source in mixture.sources] for mixture in (before, now)
    ]
    if bare[0] == bare[1]:
        return
    msg = (
        "the mixture's sources or their filters are not those of the checkpoint: a place in one set of documents is "
        "none in another, and no permission makes it one\n"
        "weights, alpha and when_exhausted can change on the way; for other documents, start another run from the "
        "checkpoint's weights (model.weights)"
    )
    raise UserError(msg)


def _refuse_read_through(mixture: Mixture, marks: tuple[Mark, ...]) -> None:
    done = [name for name, mark in zip(mixture.names, marks, strict=True) if mark.epoch]
    if done:
        msg = (
            f'when_exhausted = "stop" cannot come now: the run would have ended before the checkpoint, with the first '
            f"source read through (read through already: {', '.join(done)})"
        )
        raise UserError(msg)
