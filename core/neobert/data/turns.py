"""Which of several objectives a step is of: a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

from attrs import frozen

from neobert.seeding import derive_seed

_RANGE = 2.0**32


@frozen
class Turns:
    """Objectives drawn by their probabilities, each step's by itself: no step's draw depends on another's."""

    probabilities: Mapping[str, float]
    """Name -> probability; they add up to 1. The order in which a recipe has them is no part of the draw."""
    seed: int

    def at(self, step: int) -> str:
        """The objective of a step."""
        draw, total = derive_seed(self.seed, "objective", step) % int(_RANGE) / _RANGE, 0.0
        for name, probability in sorted(self.probabilities.items()):
            total += probability
            if draw < total:
                return name
        return name  # where the sum is a rounding error under 1

    def of(self, name: str) -> Turn:
        """One objective's steps."""
        return Turn(self, name)


@frozen
class Turn:
    """The steps of one objective."""

    turns: Turns
    name: str

    def steps(self, first: int) -> Iterator[int]:
        """Those from ``first`` on, without end."""
        return (step for step in count(first) if self.turns.at(step) == self.name)
