"""What a run says of data that ends before ``trainer.max_steps``."""

from __future__ import annotations

from collections.abc import Iterator

from neobert.data import ObjectiveData, Place, own_cursor
from neobert.data.ending import first_out, steps_left
from neobert.training.data_parts import DataParts

DATA_ENDED = 3
"""Exit status of a run that its data ended: it is no failure, and ``max_steps`` was not reached."""


def will_end_early(parts: DataParts, place: Place, step: int, max_steps: int) -> Iterator[str]:
    """A line where it is known already, for each objective of which it is."""
    for name, own in parts.each.items():
        left = steps_left(own.own_data, own_cursor(place, name), max_steps - step, done=step)
        if left is not None:
            yield _ends(name, step + left, max_steps)


def _ends(objective: str, at: int, max_steps: int) -> str:
    of = f" of objective {objective}" if objective else ""
    return (
        f"the data{of} ends at step {at:,} of trainer.max_steps = {max_steps:,}: its mixture stops with the "
        "first source that has been read through"
    )


def ended_early(parts: DataParts, place: Place, step: int, max_steps: int) -> str:
    """The last line of such a run. Of several objectives, the one whose step was the last is the one that ended."""
    name = parts.training_data.turns.at(step - 1) if isinstance(parts.training_data, ObjectiveData) else ""
    source = first_out(parts.each[name].own_data, own_cursor(place, name))
    return (
        f"source {source!r} has run out: the run ended at step {step} of trainer.max_steps = "
        f"{max_steps}, as its mixture says; everything is saved and exported, and the exit status is {DATA_ENDED}\n"
        f"trainer.max_steps = {step} makes this the run's whole length (status 0); to train on, let sources repeat:\n"
        '  when_exhausted = "repeat", with trainer.allow_changes = ["dataset"] and '
        'trainer.resume_from_checkpoint = "latest"'
    )
