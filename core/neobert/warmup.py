"""Warm-ups of a run's data: numbers that grow over the first steps, each a pure function of the step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from neobert.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neobert.recipe.trainer import TrainerOptions

LENGTH_MULTIPLE = 64
"""Tokens that a growing length is rounded down to a multiple of: what attention kernels work in."""
LENGTH_START, BATCH_SIZE_START = 128, 1
"""Where the warm-ups begin unless the recipe says it."""


@frozen
class WarmUp:
    """Grows from ``start`` at step 0 in a straight line to ``full`` at step ``steps``, and stays there.

    On the way it is rounded down to a multiple of ``multiple``, but never under ``start``.
    """

    start: int
    full: int
    """Not under ``start``."""
    steps: int
    multiple: int = 1

    def at(self, step: int) -> int:
        """In whole numbers alone, so that no machine rounds otherwise."""
        if step >= self.steps:
            return self.full
        grown = self.start + (self.full - self.start) * step // self.steps
        return max(self.start, grown - grown % self.multiple)

    def before(self, step: int) -> int:
        """The sum over all steps before this one."""
        growing = min(step, self.steps)
        return sum(map(self.at, range(growing))) + (step - growing) * self.full


def batch_size_warmup(trainer: TrainerOptions) -> WarmUp | None:
    """Of the micro-batches of a step; None where there is none."""
    if trainer.batch_size_warmup_steps is None:
        return None
    start = trainer.batch_size_warmup_start or BATCH_SIZE_START
    return WarmUp(start, trainer.gradient_accumulation_steps, trainer.batch_size_warmup_steps)


def length_warmup(trainer: TrainerOptions, max_seq_length: int) -> WarmUp | None:
    """Of the tokens that a training sequence may have; None where there is none."""
    if trainer.length_warmup_steps is None:
        return None
    start = trainer.length_warmup_start or LENGTH_START
    return WarmUp(start, max_seq_length, trainer.length_warmup_steps, LENGTH_MULTIPLE)


def describe_warmups(trainer: TrainerOptions, max_seq_length: int) -> Iterator[tuple[str, str]]:
    """What each is, and what it does; nothing where there is none."""
    found = {
        ("batch-size warm-up", "micro-batch", "a step"): batch_size_warmup(trainer),
        ("length warm-up", "token", "a sequence"): length_warmup(trainer, max_seq_length),
    }
    for (what, noun, per), warmup in found.items():
        if warmup is None:
            continue
        said = f"{counted(warmup.start, noun)} {per} at step 0, {warmup.full:,} from step {warmup.steps:,} on"
        if trainer.max_steps <= warmup.steps:
            last = warmup.at(trainer.max_steps - 1)
            said += f"; the run ends before, at {last:,} (trainer.max_steps = {trainer.max_steps:,})"
        yield what, said
