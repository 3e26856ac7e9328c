"""Metrics over steps, from the lines of metrics.jsonl."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from neobert.training.best import named_lowest_best


@frozen
class Series:
    """One metric: values (n,) at steps (n,), in the order of steps. A value may be not finite."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.values[-1]

    @property
    def not_finite(self) -> int:
        """How many values are no numbers, or infinite."""
        return sum(not math.isfinite(value) for value in self.values)

    def best(self) -> tuple[int, float] | None:
        """Step and value of the best, of equal ones the first; None where it is not known what is good, or none is a
        finite number."""
        lowest = named_lowest_best(self.name)
        pairs = [(value, step) for step, value in zip(self.steps, self.values, strict=True) if math.isfinite(value)]
        if lowest is None or not pairs:
            return None
        value, step = min(pairs) if lowest else min(pairs, key=lambda pair: (-pair[0], pair[1]))
        return step, value


def series_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Series]:
    """Every metric by its name, in the order in which they come. Of two values of one step the later one counts."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        step = row.get("step")
        if type(step) is not int:
            continue
        for name, said in row.items():
            value = _number(said)
            if name != "step" and value is not None:
                found.setdefault(name, {})[step] = value
    return {name: _in_order(name, values) for name, values in found.items()}


def _in_order(name: str, values: Mapping[int, float]) -> Series:
    steps = sorted(values)
    return Series(name, tuple(steps), tuple(values[step] for step in steps))


def _number(said: Any) -> float | None:
    """As the log has it: what is not finite is one of three strings."""
    if isinstance(said, bool) or not isinstance(said, int | float | str):
        return None
    if isinstance(said, str) and said not in ("NaN", "Infinity", "-Infinity"):
        return None
    return float(said)


def trained_seconds(series: Mapping[str, Series]) -> float | None:
    """Seconds that the logged steps took, evaluating and saving left out; None where the log does not tell."""
    tokens, rate = series.get("train/tokens_seen"), series.get("train/tokens_per_second")
    if tokens is None or rate is None or tokens.steps != rate.steps:
        return None
    before: Sequence[float] = (0.0, *tokens.values[:-1])
    parts = zip(before, tokens.values, rate.values, strict=True)
    return sum((now - then) / speed for then, now, speed in parts if speed > 0)
