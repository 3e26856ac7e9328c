"""What happened to a run: starts, resumes, skipped steps, ways back, ends, and what was moved out of the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from neobert.report.lines import read_lines
from neobert.report.run import RunRecord
from neobert.report.series import series_of
from neobert.run_folder import METRICS, SUPERSEDED
from neobert.wording import counted

MOST = 200
"""Events that are listed, the last ones."""


@frozen(kw_only=True)
class Event:
    """When (as text, empty where it is not known), at which step, and what."""

    when: str
    step: int | None
    what: str


def history_of(run: RunRecord) -> list[Event]:
    """In the order in which it happened, the last ones; then what was superseded."""
    events = [it for it in map(_event, run.events) if it is not None]
    if not run.events:  # of a run of an earlier version
        events = list(_of_summary(run.summary or {}))
    left_out = len(events) - MOST
    if left_out > 0:
        first = Event(when="", step=None, what=f"{counted(left_out, 'earlier event')} are not listed")
        events = [first, *events[-MOST:]]
    return [*events, *_superseded(run)]


def _event(said: Mapping[str, Any]) -> Event | None:
    event, step, at = said.get("event"), said.get("step"), said.get("time")
    if not isinstance(event, str):
        return None
    reason = f": {said['reason']}" if "reason" in said else ""
    to = f" to step {said['to']:,}" if isinstance(said.get("to"), int) else ""
    processes = said.get("processes")
    on = f" on {counted(processes, 'process')}" if isinstance(processes, int) and processes > 1 else ""
    return Event(
        when=_moment(at) if isinstance(at, int | float) else "",
        step=step if isinstance(step, int) else None,
        what=f"{event}{to}{on}{reason}",
    )


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _of_summary(summary: Mapping[str, Any]) -> Iterator[Event]:
    for step in summary.get("skipped_steps", []):
        yield Event(when="", step=step, what="skipped")
    for back in summary.get("rollbacks", []):
        yield Event(when="", step=back["step"], what=f"went back to step {back['to']}: {back['reason']}")


def _superseded(run: RunRecord) -> Iterator[Event]:
    folder = run.folder / SUPERSEDED
    for place in sorted(folder.iterdir()) if folder.is_dir() else []:
        steps = [step for series in series_of(read_lines(place / METRICS)[0]).values() for step in series.steps]
        lines = f": log lines of steps {min(steps):,} to {max(steps):,}" if steps else ""
        yield Event(
            when="", step=None, what=f"{SUPERSEDED}/{place.name} holds what another history took the place of{lines}"
        )
