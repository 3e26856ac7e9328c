"""Long curves, with as many values as can be seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

from neobert.api.metrics import Series

MOST_POINTS = 800
"""Of a curve that is drawn; of a longer one the least and the most of each stretch."""
MOST_ROWS = 40
"""Of a table of values."""


def thinned(series: Series) -> Series:
    """The series itself, or of one with very many values the ends, and of each stretch the least and the most."""
    count = len(series.steps)
    if count <= MOST_POINTS:
        return series
    kept = {0, count - 1}
    for known in _stretches(series):
        kept |= {min(known, key=series.values.__getitem__), max(known, key=series.values.__getitem__)}
    chosen = sorted(kept)
    return Series(tuple(series.steps[it] for it in chosen), tuple(series.values[it] for it in chosen))


def means(series: Series) -> Series | None:
    """Of a series that is thinned the mean of each stretch, at its middle; None of one that is not."""
    if len(series.steps) <= MOST_POINTS:
        return None
    stretches = list(_stretches(series))
    steps = tuple(series.steps[known[len(known) // 2]] for known in stretches)
    return Series(steps, tuple(fmean(series.values[index] for index in known) for known in stretches))


def _stretches(series: Series) -> Iterator[list[int]]:
    """Indices of the finite values of each stretch that has any."""
    count, stretches = len(series.steps), MOST_POINTS // 2 - 1
    for number in range(stretches):
        stretch = range(number * count // stretches, (number + 1) * count // stretches)
        if known := [index for index in stretch if math.isfinite(series.values[index])]:
            yield known


def spread(steps: Sequence[int]) -> list[int]:
    """All, or as many as a table may have, spread evenly, the last one too."""
    if len(steps) <= MOST_ROWS:
        return list(steps)
    return [steps[number * (len(steps) - 1) // (MOST_ROWS - 1)] for number in range(MOST_ROWS)]
