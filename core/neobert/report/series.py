"""What is made of a run's metrics over steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from neobert.api.metrics import Metrics, Row, Series
from neobert.training.best import named_lowest_best

_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
"""How the log has what JSON has no word for."""


def series_of(lines: Iterable[Mapping[str, Any]]) -> Metrics:
    """The metrics of log lines as they could be read, in the order of their steps; what is no number is left out."""
    rows = [row for row in map(_row, lines) if row is not None]
    return Metrics(tuple(sorted(rows, key=lambda row: row["step"])))


def best_of_series(metric: str, series: Series) -> tuple[int, float] | None:
    """Step and value of the best, of equal ones the first; None where it is not known what is good, or none is a finite
    number."""
    lowest = named_lowest_best(metric)
    pairs = [(value, step) for step, value in series if math.isfinite(value)]
    if lowest is None or not pairs:
        return None
    value, step = min(pairs) if lowest else min(pairs, key=lambda pair: (-pair[0], pair[1]))
    return step, value


def not_finite(series: Series) -> int:
    """How many values are no numbers, or infinite."""
    return sum(not math.isfinite(value) for value in series.values)


def trained_seconds(series: Mapping[str, Series]) -> float | None:
    """Seconds that the logged steps took, evaluating and saving left out; None where the log does not tell."""
    tokens, rate = series.get("train/tokens_seen"), series.get("train/tokens_per_second")
    if tokens is None or rate is None or tokens.steps != rate.steps:
        return None
    seen: Sequence[float] = (0.0, *tokens.values)
    return sum(
        (now - then) / speed for (then, now), speed in zip(pairwise(seen), rate.values, strict=True) if speed > 0
    )


def _row(line: Mapping[str, Any]) -> Row | None:
    """None for a line without a step."""
    if type(line.get("step")) is not int:
        return None
    numbers = {name: float(value) for name, value in line.items() if _is_number(value)}
    return {**numbers, "step": line["step"]}


def _is_number(said: Any) -> bool:
    return said in _NOT_FINITE if isinstance(said, str) else type(said) in (int, float)
