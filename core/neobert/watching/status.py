"""What is known of a run from its folder alone: going on, at its end, or killed."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

from attrs import frozen

from neobert.errors import UserError
from neobert.run_folder import CHECKPOINTS, ENVIRONMENT, RECIPE, inside_of_run, is_running, not_there, saved_steps
from neobert.watching.beat import HEARTBEAT, Beat, read_beat

QUIET = 60.0
"""Seconds after which a run that is alive is said to be quiet, unless its steps take as long."""
_SLOW = 10
"""How many of its steps it may be quiet for."""

Life = Literal["running", "finished", "ended", "stopped", "failed", "killed"]
_SAID: dict[Life, str] = {
    "running": "running",
    "finished": "finished: it reached its last step",
    "ended": "ended: its data came to an end",
    "stopped": "stopped by a signal, and saved",
    "failed": "not running: it ended with an error",
    "killed": "not running: it was killed, or its machine was lost",
}


@frozen(kw_only=True)
class RunStatus:
    """A run at a moment."""

    run: Path
    life: Life
    beat: Beat | None
    """What it last said; None where it has not said anything that can be read."""
    last_checkpoint: int | None
    """The newest that was written to its end."""
    asked: float
    """When, in seconds since 1970."""

    @property
    def at_its_end(self) -> bool:
        """Whether nothing is left to do."""
        return self.life in ("finished", "ended")

    @property
    def silence(self) -> float | None:
        """Seconds since its last word."""
        return None if self.beat is None else max(0.0, self.asked - self.beat.time)

    @property
    def seconds_left(self) -> float | None:
        """Of a run that goes on, if it goes on as fast as so far."""
        beat = self.beat
        if beat is None or beat.seconds_a_step is None or self.life != "running":
            return None
        return beat.seconds_a_step * (beat.max_steps - beat.step)


def read_status(run: Path) -> RunStatus:
    """Looks at a run's folder; changes nothing in it. Raises UserError where there is no run."""
    if not run.is_dir():
        msg = f"there is no run at {run}: {'it is a file' if run.exists() else not_there(run)}"
        raise UserError(msg)
    alive = is_running(run)
    beat = read_beat(run)
    if beat is None and not alive and not (run / ENVIRONMENT).is_file():
        hint = inside_of_run(run)
        msg = f"{run} holds no run: it has no {ENVIRONMENT} and no {HEARTBEAT}"
        raise UserError(f"{msg}\n{hint}" if hint else msg)
    steps = saved_steps(run)
    return RunStatus(
        run=run, life=_life(alive, beat), beat=beat, last_checkpoint=max(steps, default=None), asked=time.time()
    )


def _life(alive: bool, beat: Beat | None) -> Life:
    if alive:
        return "running"
    return "killed" if beat is None or beat.state == "running" else beat.state


def lines_of(status: RunStatus) -> Iterator[str]:
    """For people."""
    beat = status.beat
    yield f"{status.run}: {_SAID[status.life]}{_where(status)}"
    if beat is None:
        yield "  it has said nothing of itself that can be read: it did not come to its first step" + (
            " yet" if status.life == "running" else ""
        )
    else:
        for what, said in _rows(status, beat):
            yield f"  {what:<16} {said}"
    if not status.at_its_end and status.life != "running":
        yield "to go on:"
        yield f"  {shlex.join(('neobert-run', str(status.run / RECIPE), '--trainer.resume_from_checkpoint', 'latest'))}"


def _where(status: RunStatus) -> str:
    beat = status.beat
    return f" ({beat.doing}; process {beat.pid} on {beat.host})" if beat and status.life == "running" else ""


def _rows(status: RunStatus, beat: Beat) -> Iterator[tuple[str, str]]:
    share = f" ({beat.step / beat.max_steps:.1%})" if beat.max_steps else ""
    yield "step", f"{beat.step:,} of {beat.max_steps:,}{share}"
    if beat.loss is not None:
        yield "loss", f"{beat.loss:.4f}, as last logged"
    speed = [f"{beat.tokens_per_second:,.0f} tokens/s"] if beat.tokens_per_second is not None else []
    speed += [f"{beat.seconds_a_step:.3g} s a step"] if beat.seconds_a_step is not None else []
    if speed:
        yield "speed", ", ".join(speed)
    if status.seconds_left is not None:
        yield "time left", str(timedelta(seconds=round(status.seconds_left)))
    yield "last checkpoint", _checkpoint(status)
    yield "last word", _last_word(status, beat)


def _checkpoint(status: RunStatus) -> str:
    step = status.last_checkpoint
    return "none" if step is None else f"step {step:,}, {status.run / CHECKPOINTS / str(step)}"


def _last_word(status: RunStatus, beat: Beat) -> str:
    silence = status.silence or 0.0
    said = f"{timedelta(seconds=round(silence))} ago"
    slow = max(QUIET, _SLOW * (beat.seconds_a_step or 0.0))
    if status.life == "running" and silence > slow:
        said += "; it may hang: look for stacks.txt in its folder (trainer.hang_timeout)"
    return said
