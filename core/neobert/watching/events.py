"""What happened to a run, a line of JSON each in its folder: it began, was resumed, skipped a step, went back, ended.

Lines are only added, and none is ever moved or changed: it is the one history of the folder, whatever steps it holds.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field

from neobert.files import open_lines

EVENTS = "events.jsonl"

logger = logging.getLogger("neobert.watching")


@define(kw_only=True)
class EventLog:
    """Adds lines. A disk that refuses one is told, and ends no run."""

    folder: Path
    now: Callable[[], float] = time.time
    step: int = field(default=0, init=False)
    """Where the run is, for events that are of no step of their own."""

    def add(self, event: str, step: int | None = None, **said: Any) -> None:
        """``{"time": seconds since 1970, "event": ..., "step": ..., ...}``; values are JSON's."""
        line = {"time": self.now(), "event": event, "step": self.step if step is None else step, **said}
        try:
            with open_lines(self.folder / EVENTS) as file:
                file.write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            logger.warning("%s cannot be written: %s; the run goes on", EVENTS, error)
