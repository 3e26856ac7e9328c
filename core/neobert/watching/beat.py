"""The heartbeat: a small JSON file in a run's folder that says how far the run is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import frozen

from neobert.files import write_text

HEARTBEAT = "heartbeat.json"
State = Literal["running", "finished", "ended", "stopped", "failed"]
"""``ended``: its data had an end before ``max_steps``. ``stopped``: by a signal, saved."""


@frozen(kw_only=True)
class Beat:
    """What the file holds. Times are seconds since 1970."""

    state: State
    doing: str
    """While it runs: ``training``, ``evaluating`` or ``saving``."""
    step: int
    """Updates done."""
    max_steps: int
    time: float
    """When this was written."""
    started: float
    """When this process took its first step."""
    pid: int
    host: str
    seconds_a_step: float | None
    """Over all steps of this process, evaluating and saving included."""
    tokens_per_second: float | None
    """As last logged; so is the loss. None before that, or where it was not finite."""
    loss: float | None
    last_checkpoint: int | None
    """The step that this process saved last."""

    def write(self, folder: Path) -> None:
        """Replaces the file whole; not synced, since what outlasts a power cut is no sign of life."""
        values = {name: _finite(value) for name, value in attrs.asdict(self).items()}
        write_text(folder / HEARTBEAT, json.dumps(values, indent=2) + "\n", durable=False)


def read_beat(folder: Path) -> Beat | None:
    """What a run last said of itself; None where there is no such file, or none that this version wrote."""
    try:
        values = json.loads((folder / HEARTBEAT).read_text(encoding="utf-8"))
        beat = Beat(**values)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return beat if _is_sound(beat) else None


def _is_sound(beat: Beat) -> bool:
    """Whether every value is of its kind."""
    whole = (beat.step, beat.max_steps, beat.pid)
    numbers = (beat.time, beat.started)
    maybe = (beat.seconds_a_step, beat.tokens_per_second, beat.loss, beat.last_checkpoint)
    return (
        all(type(value) is int for value in whole)
        and all(type(value) in (int, float) for value in numbers)
        and all(value is None or type(value) in (int, float) for value in maybe)
        and all(isinstance(value, str) for value in (beat.state, beat.doing, beat.host))
    )


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
