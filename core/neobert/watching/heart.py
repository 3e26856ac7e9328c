"""Writes the heartbeat of a run from its loop: no thread, no wait for a device."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import define, field

from neobert.watching.beat import Beat, State

EVERY = 5.0
"""Seconds between two beats of a run whose steps are quicker."""

logger = logging.getLogger("neobert.watching")


@define(kw_only=True)
class Heart:
    """Remembers what there is to say of a run, and says it every few seconds and wherever something begins or ends."""

    folder: Path
    every: float = EVERY
    now: Callable[[], float] = time.time
    _max_steps: int = field(default=0, init=False)
    _first_step: int = field(default=0, init=False)
    _step: int = field(default=0, init=False)
    _started: float = field(default=0.0, init=False)
    _beaten: float = field(default=0.0, init=False)
    _doing: str = field(default="training", init=False)
    _rate: float | None = field(default=None, init=False)
    _loss: float | None = field(default=None, init=False)
    _saved: int | None = field(default=None, init=False)
    _failing: bool = field(default=False, init=False)

    def begin(self, step: int, max_steps: int) -> None:
        """The run stands at ``step``: at its start, and where it went back."""
        self._step = self._first_step = step
        self._max_steps, self._started = max_steps, self.now()
        self.beat()

    def step(self, step: int) -> None:
        """A step is done."""
        self._step = step
        if self.now() - self._beaten >= self.every:
            self.beat()

    def doing(self, what: str) -> None:
        """What it does from now on."""
        self._doing = what
        self.beat()

    def logged(self, metrics: Mapping[str, float]) -> None:
        """The numbers of a log line."""
        self._loss, self._rate = metrics.get("train/loss"), metrics.get("train/tokens_per_second")

    def saved(self, step: int) -> None:
        """There is a checkpoint of this step."""
        self._saved = step

    def beat(self, state: State = "running") -> None:
        """Writes the file, once steps began. A disk that refuses it is said once and ends no run."""
        if not self._started:
            return
        try:
            self._now(state).write(self.folder)
            self._failing = False
        except OSError as error:
            if not self._failing:
                logger.warning("the heartbeat cannot be written: %s; the run goes on", error)
            self._failing = True
        self._beaten = self.now()

    def _now(self, state: State) -> Beat:
        now, done = self.now(), self._step - self._first_step
        return Beat(
            state=state,
            doing=self._doing,
            step=self._step,
            max_steps=self._max_steps,
            time=now,
            started=self._started,
            pid=os.getpid(),
            host=socket.gethostname(),
            seconds_a_step=(now - self._started) / done if done else None,
            tokens_per_second=self._rate,
            loss=self._loss,
            last_checkpoint=self._saved,
        )
