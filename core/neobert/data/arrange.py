"""Arranging a window's examples into micro-batches where not any may share one: those of different sources, where each
micro-batch has one source, and those with a text in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from neobert.data.apart import Shared, by_count, pack_apart
from neobert.data.packing import LEFT, Packing
from neobert.errors import UserError
from neobert.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from neobert.data.plan import Shape
    from neobert.data.text_keys import TextKeys

    _Int64s = NDArray[np.int64]

_WAITING = 4
"""How many micro-batches' worth may wait for their texts to be apart, however few are read at once."""


def arrange(lengths: _Int64s, carried: int, keys: TextKeys | None, groups: _Int64s | None, shape: Shape) -> Packing:
    """Micro-batches of examples of these lengths (n,), special tokens included; the first so many were carried over.

    ``groups`` (n,): the source of each, where a micro-batch has one source. Raises UserError where far too many have a
    text in common.
    """
    if groups is None:
        return _arrange(lengths, carried, keys, shape)
    batch_of, batches = np.full(len(lengths), LEFT, dtype=np.int64), 0
    for group in np.unique(groups).tolist():
        mine = np.flatnonzero(groups == group)
        found = _arrange(lengths[mine], int((mine < carried).sum()), _keys_of(keys, mine, len(lengths)), shape)
        placed = found.batch_of != LEFT
        batch_of[mine[placed]] = batches + found.batch_of[placed]
        batches += found.batches
    return _by_place(Packing(batch_of, batches))


def refuse_over_budget(lengths: NDArray[np.integer[Any]], budget: int) -> None:
    """Raises UserError where an example alone has more tokens than a packed micro-batch."""
    longest = int(lengths.max(initial=0))
    if longest > budget:
        msg = (
            f"an example has {longest:,} tokens in all its texts, and a packed micro-batch {budget:,} "
            "(trainer.per_device_train_batch_size * dataset.max_seq_length)\n"
            "raise trainer.per_device_train_batch_size, or count examples: datacollator.pack_sequences = false"
        )
        raise UserError(msg)


def _arrange(lengths: _Int64s, carried: int, keys: TextKeys | None, shape: Shape) -> Packing:
    shared = Shared.among(keys, len(lengths))
    if not len(lengths):
        return Packing(np.empty(0, dtype=np.int64), 0)
    if shape.packed:
        found = pack_apart(lengths, shape.budget, shared, carried=carried, keep_remainder=not shape.full)
        most = shape.budget
        left = np.cumsum(np.where(found.batch_of == LEFT, lengths, 0))
        waiting = int(((found.batch_of == LEFT) & (left >= most)).sum())
    else:
        found = by_count(_ranked(lengths, shape), shape.sequences, shared)
        waiting = int((found.batch_of == LEFT).sum()) - shape.sequences + 1
    if keys is not None and waiting > max((len(lengths) - carried) // 2, _WAITING * shape.sequences):
        _refuse(found, shared, keys, waiting)
    return found


def _ranked(lengths: _Int64s, shape: Shape) -> _Int64s:
    """In order, or by length; the newest, which fill no micro-batch, come last."""
    used = len(lengths) // shape.sequences * shape.sequences
    places = np.arange(len(lengths))
    if not shape.group_by_length:
        return places
    return np.concatenate((np.argsort(lengths[:used], kind="stable"), places[used:]))


def _keys_of(keys: TextKeys | None, mine: _Int64s, total: int) -> TextKeys | None:
    """Of some of the examples, numbered anew."""
    if keys is None:
        return None
    number = np.full(total, -1, dtype=np.int64)
    number[mine] = np.arange(len(mine))
    own = number[keys.example] >= 0
    return evolve(
        keys,
        example=number[keys.example[own]],
        key=keys.key[own],
        beginning=lambda example, key: keys.beginning(int(mine[example]), key),
    )


def _by_place(packing: Packing) -> Packing:
    """Batches of several sources in the order in which their examples come, on average."""
    placed = np.flatnonzero(packing.batch_of != LEFT)
    sums = np.bincount(packing.batch_of[placed], weights=placed, minlength=packing.batches)
    sizes = np.bincount(packing.batch_of[placed], minlength=packing.batches)
    turn = np.empty(packing.batches + 1, dtype=np.int64)
    turn[np.argsort(sums / np.maximum(sizes, 1), kind="stable")] = np.arange(packing.batches)
    turn[-1] = LEFT
    return Packing(turn[packing.batch_of], packing.batches)


def _refuse(found: Packing, shared: Shared, keys: TextKeys, waiting: int) -> None:
    left = [example for example in np.flatnonzero(found.batch_of == LEFT).tolist() if example in shared.of]
    worst = max(left, key=shared.commonness, default=None)
    msg = (
        f"{counted(waiting, 'example')} of {len(found.batch_of):,} cannot be placed: no two examples with a common "
        "text share a micro-batch"
    )
    if worst is not None:
        number = max(shared.of[worst], key=lambda text: shared.counts[text])
        beginning = keys.beginning(worst, shared.keys[number])
        msg += f"\none text is in {counted(shared.counts[number], 'example')} of them; it begins: {beginning!r}"
    raise UserError(f"{msg}\nmake micro-batches smaller (trainer.per_device_train_batch_size), or leave such rows out")
