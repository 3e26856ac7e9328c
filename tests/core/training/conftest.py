"""Data that spoils the step that is trained on it, whichever step that is, and processes that are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from neobert.data import Cursor, TrainingData
from neobert.interfaces import LossOutput
from neobert.training.objective import Objective

Place = tuple[int, int, int]


class Killed(BaseException):
    """What nothing catches: the process is gone as far as the run can tell."""


class Poison:
    """``bad[place] = (what, factor)``: what is trained on there has its ``"loss"`` (and so its gradient) or its
    ``"gradient"`` alone times the factor. ``places[n]`` is where an unbroken run's n-th step ends."""

    def __init__(self) -> None:
        self.bad: dict[Place, tuple[str, float]] = {}
        self.places: list[Place] = [(0, 0, 0)]
        self.trained = 0
        """Steps that were begun, in all runs since `reset`."""
        self.kill_at: int | None = None
        self.signal_at: int | None = None
        self._now: tuple[str, float] | None = None

    def reset(self, *, kill_at: int | None = None, signal_at: int | None = None) -> None:
        self.trained, self.kill_at, self.signal_at = 0, kill_at, signal_at

    def steps(self, inner: Iterator[Any]) -> Iterator[Any]:
        for data in inner:
            place = (data.cursor.epoch, data.cursor.window, data.cursor.position)
            if data.step + 1 == len(self.places):
                self.places.append(place)
            self._now = self.bad.get(place)
            self.trained += 1
            if self.trained == self.kill_at:
                raise Killed
            if self.trained == self.signal_at:
                os.kill(os.getpid(), signal.SIGTERM)
            yield data

    def output(self, output: LossOutput) -> LossOutput:
        if self._now is None:
            return output
        what, factor = self._now
        total = output.total * (factor if what == "loss" else 1.0)
        if what == "gradient":
            total.register_hook(lambda gradient: gradient * factor)
        return LossOutput(total, output.count, output.metrics)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Has every run of this process meet it."""
        steps, forward = TrainingData.steps, Objective.forward

        def poisoned_steps(data: TrainingData, cursor: Cursor, first_step: int) -> Iterator[Any]:
            return self.steps(steps(data, cursor, first_step))

        def poisoned_forward(objective: Objective, batch: Any) -> LossOutput:
            output = forward(objective, batch)
            return self.output(output) if objective.training else output

        patch.setattr(TrainingData, "steps", poisoned_steps)
        patch.setattr(Objective, "forward", poisoned_forward)


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Poison:
    made = Poison()
    made.install(monkeypatch)
    return made
