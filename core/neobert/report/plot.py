"""Line charts: curves in a square of 1000 by 1000, which the page stretches, and the words around them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from neobert.api.metrics import Series
from neobert.report.axis import Axis, Tick, step_axis, value_axis
from neobert.report.numbers import NOTHING
from neobert.report.series import not_finite
from neobert.report.thin import means, spread, thinned

SIDE = 1000
FEW = 3
"""Dots fewer than this are not joined: a line would say what was between."""


@frozen(kw_only=True)
class Line:
    """A curve: what it is called, its points, and which of the page's colours it has."""

    name: str
    series: Series
    colour: int
    dotted: bool = False
    """With a dot at each value, as evaluations have: they are few."""


@frozen
class Level:
    """A horizontal line: what it is called, and its value."""

    name: str
    value: float


@frozen(kw_only=True)
class Style:
    """How numbers of a chart are written, and on which scale they lie."""

    text: Callable[[float], str]
    tick: Callable[[float], str] | None = None
    """On the axis; None: as numbers are."""
    unit: str = ""
    may_log: bool = False
    """Logarithmic, where values differ by a large factor."""


@frozen(kw_only=True)
class Drawn:
    """A curve as the page has it."""

    name: str
    colour: int
    path: str
    """SVG path data; it begins anew behind a value that is not finite. Empty where dots alone are drawn."""
    dots: str
    """The same as dots; empty where there are none."""
    mean: str
    """Of a curve that is drawn with its least and most values: their means, as a path; else empty."""
    points: int
    last: str
    """The newest value, as text."""


@frozen(kw_only=True)
class Chart:
    """All that the page has of one chart."""

    id: str
    title: str
    unit: str
    description: str
    """What is to be seen, in words."""
    notes: tuple[str, ...]
    lines: tuple[Drawn, ...]
    levels: tuple[tuple[str, str, float], ...]
    """Horizontal lines: name, value as text, height."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    last_step: int
    rows: tuple[tuple[str, ...], ...]
    """Of the table of values: step, and each curve's value."""
    rows_of: int
    """How many there are in all."""
    readout: dict[str, Any]
    """For the script: steps, where they are, and each curve's height and text there."""


def draw(id: str, title: str, lines: Sequence[Line], style: Style, levels: Sequence[Level] = ()) -> Chart:
    """A chart of these curves, one at least."""
    text = style.text
    thin = [thinned(line.series) for line in lines]
    finite = [value for series in thin for value in series.values if math.isfinite(value)]
    finite += [level.value for level in levels]
    y, x = value_axis(finite, may_log=style.may_log, tick=style.tick), _steps_axis(thin)
    steps = sorted({step for series in thin for step in series.steps})
    values = [dict(zip(series.steps, series.values, strict=True)) for series in thin]
    rows = [(f"{step:,}", *(_cell(of.get(step), text) for of in values)) for step in spread(steps)]
    return Chart(
        id=id,
        title=title,
        unit=", ".join(filter(None, (style.unit, "logarithmic" if y.log else ""))),
        description=" ".join(
            [*(_described(line, text) for line in lines), *(f"{it.name}: {text(it.value)}." for it in levels)]
        ),
        notes=tuple(_notes(lines, thin)),
        lines=tuple(_drawn(line, series, x, y, text) for line, series in zip(lines, thin, strict=True)),
        levels=tuple((it.name, text(it.value), round(SIDE * (1 - y.at(it.value)), 1)) for it in levels),
        x_ticks=x.ticks,
        y_ticks=y.ticks,
        last_step=steps[-1],
        rows=tuple(rows),
        rows_of=len({step for line in lines for step in line.series.steps}),
        readout={
            "steps": steps,
            "x": [round(SIDE * x.at(step), 1) for step in steps],
            "lines": [
                {"y": [_height(it, y) for it in of], "text": [_cell(it, text) for it in of]}
                for of in ([known.get(step) for step in steps] for known in values)
            ],
        },
    )


def _steps_axis(series: Sequence[Series]) -> Axis:
    return step_axis(min(it.steps[0] for it in series), max(it.steps[-1] for it in series))


def _drawn(line: Line, series: Series, x: Axis, y: Axis, text: Callable[[float], str]) -> Drawn:
    path = _path(series, x, y)
    places = re.findall("[ML]([^ML]+)", path)
    has_dots, mean = line.dotted or len(places) == 1, means(line.series)
    return Drawn(
        name=line.name,
        colour=line.colour,
        path="" if has_dots and len(places) < FEW else path,
        dots="".join(f"M{place}h0" for place in places) if has_dots else "",
        mean="" if mean is None else _path(mean, x, y),
        points=len(places),
        last=_cell(line.series.last, text),
    )


def _path(series: Series, x: Axis, y: Axis) -> str:
    pieces, moving = [], True
    for step, value in series:
        height = _height(value, y)
        if height is not None:
            pieces.append(f"{'M' if moving else 'L'}{SIDE * x.at(step):.1f} {height:.1f}")
        moving = height is None
    return "".join(pieces)


def _height(value: float | None, y: Axis) -> float | None:
    return None if value is None or not math.isfinite(value) else round(SIDE * (1 - y.at(value)), 1)


def _cell(value: float | None, text: Callable[[float], str]) -> str:
    return NOTHING if value is None else text(value)


def _described(line: Line, text: Callable[[float], str]) -> str:
    series = line.series
    if len(series.steps) == 1:
        return f"{line.name}: {text(series.last)} at step {series.steps[0]:,}."
    first, last = f"{text(series.values[0])} at step {series.steps[0]:,}", text(series.last)
    return f"{line.name}: {len(series.steps):,} values, from {first} to {last} at step {series.steps[-1]:,}."


def _notes(lines: Sequence[Line], thin: Sequence[Series]) -> list[str]:
    found = []
    for line, drawn in zip(lines, thin, strict=True):
        if spoiled := not_finite(line.series):
            found.append(f"{line.name}: {spoiled:,} values that are not finite are left out")
        if len(drawn.steps) < len(line.series.steps):
            found.append(
                f"{line.name}: drawn with {len(drawn.steps):,} of {len(line.series.steps):,} values, the least and the "
                "most of each stretch, and their mean"
            )
    return found
