"""What a run says of data that ends before ``trainer.max_steps``."""

from __future__ import annotations

from collections.abc import Iterator

from neobert.data import Cursor, TrainingData
from neobert.data.ending import first_out, steps_left

DATA_ENDED = 3
"""Exit status of a run that its data ended: it is no failure, and ``max_steps`` was not reached."""


def will_end_early(data: TrainingData, cursor: Cursor, step: int, max_steps: int) -> Iterator[str]:
    """A line where it is known already."""
    left = steps_left(data, cursor, max_steps - step, done=step)
    if left is not None:
        yield (
            f"the data ends at step {step + left:,} of trainer.max_steps = {max_steps:,}: its mixture stops with the "
            "first source that has been read through"
        )


def ended_early(data: TrainingData, cursor: Cursor, step: int, max_steps: int) -> str:
    """The last line of such a run."""
    return (
        f"source {first_out(data, cursor)!r} has run out: the run ended at step {step} of trainer.max_steps = "
        f"{max_steps}, as its mixture says; everything is saved and exported, and the exit status is {DATA_ENDED}\n"
        f"trainer.max_steps = {step} makes this the run's whole length (status 0); to train on, let sources repeat:\n"
        '  when_exhausted = "repeat", with trainer.allow_changes = ["dataset"] and '
        'trainer.resume_from_checkpoint = "latest"'
    )
