"""What all ranks know of a step before it begins: whether each has its data, and whether any was told to stop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from attrs import evolve
from torch import distributed as dist

from neobert.data import StepBatches, own_cursor
from neobert.errors import UserError
from neobert.host_group import host_group
from neobert.training.ranks import Ranks
from neobert.training.signals import StopSignal


class OtherRankError(UserError):
    """Another rank has failed, and says why: this one has nothing to add."""


def steps_of_all(steps: Iterator[StepBatches], ranks: Ranks, stop: StopSignal) -> Iterator[StepBatches]:
    """The steps, with tokens, and whether it is the last, of all ranks; of one process, ``steps`` as they are.

    Where one rank fails, all do: it with its own error, the others with `OtherRankError`. A signal that has reached one
    of them is made known to all.
    """
    return steps if ranks.alone else _agreed(steps, ranks, stop)


def _agreed(steps: Iterator[StepBatches], ranks: Ranks, stop: StopSignal) -> Iterator[StepBatches]:
    while True:
        error: Exception | None = None
        data: StepBatches | None = None
        try:
            data = next(steps)
        except Exception as caught:  # raised below, once the others know
            error = caught
        num_tokens, last, apart, failed, *signals = _told(data, ranks, stop)
        if error is not None:
            raise error
        if failed or data is None:
            msg = "another process could not make its batches"
            raise OtherRankError(msg)
        stop.agree(max(signals))
        # By file, each rank has rows of its own; else all have the same.
        left_out = _summed(data.left_out, ranks) if apart else data.left_out
        yield evolve(data, num_tokens=num_tokens, last=bool(last), left_out=left_out)


def _summed(counts: Mapping[str, int], ranks: Ranks) -> dict[str, int]:
    return {name: int(count) for name, count in ranks.summed(counts).items()}


def _told(data: StepBatches | None, ranks: Ranks, stop: StopSignal) -> list[int]:
    """Sums over ranks in one message, in which the numbers of their signals stand side by side."""
    facts = torch.zeros(4 + ranks.world_size, dtype=torch.int64)
    if data is None:
        facts[3] = 1
    else:
        facts[0], facts[1] = data.num_tokens, int(data.last)
        facts[2] = int(bool(own_cursor(data.cursor, data.objective).share and data.left_out))
    facts[4 + ranks.rank] = stop.number
    dist.all_reduce(facts, group=host_group())
    told: list[int] = facts.tolist()
    return told
