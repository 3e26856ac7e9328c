"""A stream shared out over ranks by file: each reads its own files and nothing else, and has its own place in them.

No order of all rows can then be the same for every number of ranks: a cursor says which share it belongs to.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from neobert.data.cursor import Cursor, Cursors, Place
from neobert.data.splits import is_stream
from neobert.errors import UserError
from neobert.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neobert.served import DatasetKeys

logger = logging.getLogger("neobert.data")


@frozen
class Share:
    """The files of one rank."""

    rank: int
    ranks: int
    files: int
    """Of all ranks together."""


def share_out(rows: Any, keys: DatasetKeys, rank: int, ranks: int) -> tuple[Any, Share | None]:
    """This rank's rows, and its share where ``dataset.shard_streams_by`` is `file`; else all rows, and None.

    Files go to ranks in contiguous runs, as many to each as to any other, or one more. With fewer files than ranks all
    read all rows, and a line says so. Raises UserError for rows that are no stream of one dataset.
    """
    if keys.shard_streams_by == "row":
        return rows, None
    if not is_stream(rows) or not hasattr(rows, "num_shards"):
        msg = 'dataset.shard_streams_by = "file": the rows to train on are no stream of one dataset; leave the key out'
        raise UserError(msg)
    files = int(rows.num_shards)
    if files < ranks:
        logger.warning(
            "dataset.shard_streams_by = file: %s %s too few for %s; each reads all rows and takes its own",
            counted(files, "file"),
            "is" if files == 1 else "are",
            counted(ranks, "rank"),
        )
        return rows, None
    return (rows.shard(num_shards=ranks, index=rank) if ranks > 1 else rows), Share(rank, ranks, files)


def own_place(cursor: Cursor, share: Share | None, content: str) -> Cursor:
    """The cursor to go on from, of a checkpoint's: this rank's of what `join_places` made.

    Raises UserError where its stream was shared out in another way, or where this rank's rows are others.
    """
    if cursor == Cursor():
        return cursor
    own = next((one for one in cursor.places if share and one.share[:1] == (share.rank,)), cursor)
    now = (share.rank, share.ranks, share.files) if share else ()
    if own.share != now:
        then = (cursor.places or (cursor,))[0].share
        msg = (
            f"the checkpoint's stream was read {_how(then)}, and this run would read it {_how(now)}: "
            f"no place in the one is a place in the other\n{_way_on(then)}"
        )
        raise UserError(msg)
    if share and own.content != content:
        msg = f"the files of rank {share.rank} do not begin as they did when the checkpoint was made: bring them back"
        raise UserError(msg)
    return evolve(own, share=(), content="")


def placed(cursor: Cursor, share: Share | None, content: str) -> Cursor:
    """A rank's cursor with what `own_place` compares."""
    return evolve(cursor, share=(share.rank, share.ranks, share.files), content=content) if share else cursor


def join_places(places: Sequence[Place]) -> Place:
    """One place for the checkpoint, of those of all ranks after the same step, by rank; each objective's by itself.

    Where the stream is not shared out by file, they are one and the same. Raises ValueError where they are not.
    """
    several = [place for place in places if isinstance(place, Cursors)]
    if several:
        return Cursors({name: _joined([place.of[name] for place in several]) for name in several[0].of})
    return _joined([place for place in places if isinstance(place, Cursor)])


def _joined(cursors: Sequence[Cursor]) -> Cursor:
    if len(set(cursors)) == 1:
        return cursors[0]
    if [cursor.share[:2] for cursor in cursors] != [(rank, len(cursors)) for rank in range(len(cursors))]:
        msg = f"these are not the cursors of {len(cursors)} ranks that read a stream by file: {cursors}"
        raise ValueError(msg)
    return Cursor(places=tuple(cursors))


def _how(share: tuple[int, ...]) -> str:
    if not share:
        return "by row"
    _, ranks, files = share
    return f"by file, {counted(files, 'file')} over {counted(ranks, 'rank')}"


def _way_on(share: tuple[int, ...]) -> str:
    if not share:
        return 'set dataset.shard_streams_by = "row" again'
    _, ranks, files = share
    return (
        f"go on with {counted(ranks, 'rank')}, the same {counted(files, 'file')} and dataset.shard_streams_by = "
        '"file"; or '
        "start another run from the checkpoint's weights (model.weights); by row, any number of ranks may go on"
    )
