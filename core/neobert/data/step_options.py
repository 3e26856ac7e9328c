"""How a step is made of micro-batches: how many there are, who makes which, how long their sequences may be."""

from __future__ import annotations

from itertools import count, takewhile
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neobert.data.turns import Turn
    from neobert.warmup import WarmUp


@frozen(kw_only=True)
class StepOptions:
    """How a step is made of micro-batches, and who makes which."""

    per_device_train_batch_size: int
    gradient_accumulation_steps: int = 1
    batch_size_warmup: WarmUp | None = None
    """Of the micro-batches of a step; its end is ``gradient_accumulation_steps``."""
    length_warmup: WarmUp | None = None
    """Of the tokens of a training sequence; its end is ``max_seq_length``."""
    enforce_full_packed_batches: bool = True
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    pin_memory: bool = False
    turn: Turn | None = None
    """Which of the run's steps are made so; None: all."""

    def steps(self, first: int) -> Iterator[int]:
        """The numbers of these steps from ``first`` on, without end."""
        return count(first) if self.turn is None else self.turn.steps(first)

    def micro_batches(self, step: int) -> int:
        """Of this step, on each rank."""
        return self.gradient_accumulation_steps if self.batch_size_warmup is None else self.batch_size_warmup.at(step)

    def in_step(self, step: int) -> int:
        """Micro-batches of this step, on all ranks together."""
        return self.micro_batches(step) * self.world_size

    def in_steps(self, first: int, end: int) -> int:
        """The same of all steps from ``first`` on, before ``end``."""
        if self.turn is not None:
            return sum(map(self.in_step, takewhile(lambda step: step < end, self.steps(first))))
        if self.batch_size_warmup is None:
            return (end - first) * self.gradient_accumulation_steps * self.world_size
        return (self.batch_size_warmup.before(end) - self.batch_size_warmup.before(first)) * self.world_size

    def limit(self, step: int) -> int | None:
        """Tokens of a training sequence in this step, at most; None once nothing is cut."""
        warmup = self.length_warmup
        return None if warmup is None or step >= warmup.steps else warmup.at(step)
