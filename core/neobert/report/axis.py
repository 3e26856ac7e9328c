"""Axes: where values lie between the least and the most, and the round numbers on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from attrs import frozen

from neobert.report.numbers import short, whole

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_LOG_FROM = 50.0
"""Values that differ by such a factor are drawn on a logarithmic scale, where it is asked for."""


@frozen
class Tick:
    """A number on an axis; ``at`` is between 0, the axis's start, and 1."""

    at: float
    text: str


@frozen(kw_only=True)
class Axis:
    """From a least to a most value."""

    least: float
    most: float
    log: bool
    ticks: tuple[Tick, ...]

    def at(self, value: float) -> float:
        """Between 0 and 1."""
        return _share(value, self.least, self.most, self.log)


def value_axis(
    values: Sequence[float], *, may_log: bool = False, tick: Callable[[float], str] | None = None, count: int = 5
) -> Axis:
    """For finite values, with a little room at both ends; 0 is in it where it is near. ``tick`` writes its numbers."""
    least, most = min(values, default=0.0), max(values, default=1.0)
    if may_log and least > 0 and most / least > _LOG_FROM:
        return _log_axis(least, most)
    if least == most:
        room = abs(least) * 0.1 or 1.0
        least, most = least - room, most + room
    if 0 < least < 0.35 * most:
        least = 0.0
    step = _nice((most - least) / count)
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    least, most = first * step, last * step
    ticks = tuple(
        Tick((n - first) / (last - first), tick(n * step) if tick else _tick_text(n * step, step))
        for n in range(first, last + 1)
    )
    return Axis(least=least, most=most, log=False, ticks=ticks)


def step_axis(least: int, most: int, count: int = 6) -> Axis:
    """For steps, from the first one shown to the last."""
    most = max(most, least + 1)
    step = max(1.0, _nice((most - least) / count))
    numbers = range(math.ceil(least / step), math.floor(most / step) + 1)
    text = short if most >= 100_000 else whole
    ticks = tuple(Tick((n * step - least) / (most - least), text(n * step)) for n in numbers)
    return Axis(least=least, most=most, log=False, ticks=ticks)


def _log_axis(least: float, most: float) -> Axis:
    low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
    numbers = [factor * 10.0**power for power in range(low, high + 1) for factor in (1, 2, 5)]
    if high - low > 3:
        numbers = [10.0**power for power in range(low, high + 1)]
    least = max([it for it in numbers if it <= least], default=least)
    most = min([it for it in numbers if it >= most], default=most)
    inside = [it for it in numbers if least <= it <= most]
    ticks = tuple(Tick(_share(it, least, most, log=True), short(it)) for it in inside)
    return Axis(least=least, most=most, log=True, ticks=ticks)


def _share(value: float, least: float, most: float, log: bool) -> float:
    if log:
        value, least, most = math.log(value), math.log(least), math.log(most)
    return (value - least) / (most - least)


def _nice(step: float) -> float:
    """The next round number: 1, 2, 2.5 or 5 times a power of ten."""
    if not math.isfinite(step) or step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in _STEPS if factor * power >= step * (1 - 1e-9))


def _tick_text(value: float, step: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1000 or step < 1e-4:
        return short(value)
    decimals = max(0, -math.floor(math.log10(step)) + (1 if f"{step:e}".startswith("2.5") else 0))
    return f"{value:.{decimals}f}"
