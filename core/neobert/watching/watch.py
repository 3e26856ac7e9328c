"""All that is told while a run goes, in one place for the loop to call. Without listeners it does nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from neobert.watching.beat import State
from neobert.watching.events import EventLog
from neobert.watching.hang import HangWatch
from neobert.watching.heart import Heart


@frozen
class Watch:
    """Tells the heartbeat, the hang detector and the list of events what happens."""

    heart: Heart | None = None
    hang: HangWatch | None = None
    events: EventLog | None = None

    def happened(self, event: str, step: int, **said: Any) -> None:
        """Something that a person would want to know of later."""
        if self.events is not None:
            self.events.add(event, step, **said)

    def begin(self, step: int, max_steps: int) -> None:
        """The run stands at ``step``, and steps come next."""
        if self.heart is not None:
            self.heart.begin(step, max_steps)
        self._stands_at(step)
        self._heard(f"it began at step {step}")

    def step(self, step: int) -> None:
        """A step is done."""
        if self.heart is not None:
            self.heart.step(step)
        self._stands_at(step)
        self._heard(f"step {step} was done")

    def logged(self, metrics: Mapping[str, float]) -> None:
        """The numbers of a log line."""
        if self.heart is not None:
            self.heart.logged(metrics)

    def saved(self, step: int) -> None:
        """There is a checkpoint of this step."""
        if self.heart is not None:
            self.heart.saved(step)

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Inside, it is not training but ``evaluating`` or ``saving``."""
        self._do(what)
        yield
        self._do("training")

    def end(self, state: State) -> None:
        """The last word."""
        if self.heart is not None:
            self.heart.beat(state)
        if self.events is not None:
            self.events.add(state)

    def _stands_at(self, step: int) -> None:
        if self.events is not None:
            self.events.step = step

    def _do(self, what: str) -> None:
        if self.heart is not None:
            self.heart.doing(what)
        self._heard(f"it went on to {what}")

    def _heard(self, what: str) -> None:
        if self.hang is not None:
            self.hang.heard(what)


@contextmanager
def watching(folder: Path, rank: int, hang_timeout: float) -> Iterator[Watch]:
    """A run's watch. The first rank has heartbeat and events; each looks whether it hangs, if ``hang_timeout`` isn't 0.

    An exception that passes is told as the run's end.
    """
    heart, events = (Heart(folder=folder), EventLog(folder=folder)) if rank == 0 else (None, None)
    with _hang_watch(folder, hang_timeout) as hang:
        watch = Watch(heart, hang, events)
        try:
            yield watch
        except BaseException:
            watch.end("failed")
            raise


@contextmanager
def _hang_watch(folder: Path, timeout: float) -> Iterator[HangWatch | None]:
    if not timeout:
        yield None
        return
    with HangWatch(folder, timeout) as hang:
        yield hang
