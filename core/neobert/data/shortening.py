"""Length warm-up: a sequence that is longer than a step's limit is trained on as consecutive pieces.

The plan stays what it is. The pieces stand in the sequence's place, each a sequence of its own in the layout, and
have its tokens in their order, no more and no fewer, special tokens included: the first begins with what stands
before a text and the last ends with what stands after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neobert.data.sequences import Pieces, SpecialTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    _Int64s = NDArray[np.int64]


def cuts(lengths: _Int64s, limit: int) -> tuple[_Int64s, _Int64s, _Int64s]:
    """Of sequences of these lengths (n,), special tokens included: each piece's sequence, its first token there and
    one past its last, (m,) each. All pieces of a sequence have ``limit`` tokens but the last, which has the rest."""
    counts = -(-lengths // limit)
    sequence = np.repeat(np.arange(len(lengths)), counts)
    place = np.arange(len(sequence)) - np.repeat(np.cumsum(counts) - counts, counts)
    begin = place * limit
    return sequence, begin, np.minimum(begin + limit, lengths[sequence])


def shorten(sequences: Sequence[NDArray[Any]], limit: int) -> list[NDArray[Any]]:
    """The pieces of these sequences, in order."""
    lengths = np.fromiter(map(len, sequences), dtype=np.int64, count=len(sequences))
    found = (column.tolist() for column in cuts(lengths, limit))
    return [sequences[sequence][begin:end] for sequence, begin, end in zip(*found, strict=True)]


def shortened(planned: Pieces, special: SpecialTokens, limit: int) -> tuple[Pieces, _Int64s]:
    """The same of a plan's sequences: what of its document each piece holds, and the number of its sequence, (m,).

    A piece of special tokens alone holds nothing: it starts where it stops.
    """
    sequence, begin, end = cuts(planned.lengths + special.count, limit)
    own, before = planned[sequence], len(special.prefix)
    start, stop = (own.start + np.clip(place - before, 0, own.lengths) for place in (begin, end))
    return Pieces(own.document, start, stop), sequence


def not_whole(planned: Pieces, pieces: Pieces, sequence: _Int64s) -> NDArray[np.bool_]:
    """(n,) which planned sequences their pieces do not make up: each token once, in its place."""
    wrong = np.ones(len(planned), dtype=np.bool_)
    first, last = (np.searchsorted(sequence, np.arange(len(planned)), side=side) for side in ("left", "right"))
    there = np.flatnonzero(first < last)
    wrong[there] = pieces.start[first[there]] != planned.start[there]
    wrong[there] |= pieces.stop[last[there] - 1] != planned.stop[there]
    apart = (pieces.start[1:] != pieces.stop[:-1]) & (sequence[1:] == sequence[:-1])
    wrong[sequence[1:][apart]] = True
    wrong[sequence[(pieces.document != planned.document[sequence]) | (pieces.start > pieces.stop)]] = True
    return wrong
