"""Long curves, with as many values as can be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    stretches = MOST_POINTS // 2 - 1
    for number in range(stretches):
        stretch = range(number * count // stretches, (number + 1) * count // stretches)
        known = [index for index in stretch if math.isfinite(series.values[index])]
        if known:
            kept |= {min(known, key=series.values.__getitem__), max(known, key=series.values.__getitem__)}
    chosen = sorted(kept)
    return Series(tuple(series.steps[it] for it in chosen), tuple(series.values[it] for it in chosen))


def spread(steps: Sequence[int]) -> list[int]:
    """All, or as many as a table may have, spread evenly, the last one too."""
    if len(steps) <= MOST_ROWS:
        return list(steps)
    return [steps[number * (len(steps) - 1) // (MOST_ROWS - 1)] for number in range(MOST_ROWS)]
