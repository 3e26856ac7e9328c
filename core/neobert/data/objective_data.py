"""Training data of several objectives: each step is one objective's, and each objective has its own place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from attrs import evolve, frozen

from neobert.data.cursor import Cursor, Cursors, Place
from neobert.data.training_data import StepBatches, TrainingData
from neobert.data.turns import Turns
from neobert.errors import UserError
from neobert.objective_names import named


@frozen(eq=False)
class ObjectiveData:
    """As `TrainingData`, whose place is that of each objective. Two objectives never wait for each other's data."""

    of: Mapping[str, TrainingData]
    turns: Turns

    @property
    def fingerprint(self) -> str:
        """The identity of what is trained on: each objective's, by name."""
        text = " ".join(f"{name} {data.fingerprint}" for name, data in self.of.items())
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def start(self) -> Cursors:
        """The place of a run that has done nothing."""
        return Cursors({name: data.start() for name, data in self.of.items()})

    def place(self, value: Mapping[str, Any]) -> Cursors:
        """The place that a checkpoint has as JSON. Raises ValueError for anything else."""
        if set(value) != set(self.of):
            msg = f"expected places in the data of {', '.join(self.of)}, got {value!r}"
            raise ValueError(msg)
        return Cursors({name: Cursor.from_json(value[name]) for name in self.of})

    def own_place(self, place: Place) -> Cursors:
        """This rank's place of a checkpoint's. Raises UserError where it is none in this data."""
        return Cursors({name: data.own_place(_several(place).of[name]) for name, data in self.of.items()})

    def steps(self, place: Place, first_step: int) -> Iterator[StepBatches]:
        """Step ``first_step`` and all after it, from where each objective's data stands.

        An objective that has steps yet to come is read ahead by its own workers while others have their turns.
        """
        place = _several(place)
        steps = {name: data.steps(place.of[name], first_step) for name, data in self.of.items()}
        for step in count(first_step):
            name = self.turns.at(step)
            own = next(steps[name])
            assert isinstance(own.cursor, Cursor)
            place = Cursors({**place.of, name: own.cursor})
            yield evolve(
                own,
                cursor=place,
                objective=name,
                source_tokens=named(name, own.source_tokens),
                left_out=named(name, own.left_out),
            )
            if own.last:
                return

    def close(self) -> None:
        """Ends the workers of every `steps` that was begun."""
        for data in self.of.values():
            data.close()


def _several(place: Place) -> Cursors:
    if isinstance(place, Cursors):
        return place
    msg = "the data position is that of one objective, and this run has several"
    raise UserError(msg)


def own_cursor(place: Place, name: str) -> Cursor:
    """The place in the data of one objective."""
    return place.of[name] if isinstance(place, Cursors) else place
