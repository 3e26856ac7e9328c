"""A run in figures: what it came to, and each metric at its end and at its best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from attrs import asdict, frozen

from neobert.api.metrics import Series
from neobert.recipe.differences import compare
from neobert.report.run import RunRecord
from neobert.report.series import best_of_series, trained_seconds
from neobert.training.best import named_lowest_best

COUNTS = ("train/tokens_seen", "train/tokens_per_second", "train/data_wait_share", "train/learning_rate")
"""Metrics that tell how the run went, and not what it learned."""


@frozen(kw_only=True)
class MetricFigures:
    """One metric of one run. None where it is not known what is good, or there is no finite value."""

    first: float
    last: float
    last_step: int
    best: float | None
    best_step: int | None


@frozen(kw_only=True)
class RunFigures:
    """What there is to compare of a run."""

    run: str
    folder: str
    status: str
    step: int
    max_steps: int | None
    tokens: int | None
    """Trained on."""
    seconds: float | None
    """That the logged steps took, evaluating and saving left out."""
    tokens_per_second: float | None
    """The median of the log lines."""
    metrics: Mapping[str, MetricFigures]

    def to_json(self) -> dict[str, Any]:
        """What is not finite is null."""
        return _plain(asdict(self))  # type: ignore[no-any-return]


def figures_of(run: RunRecord) -> RunFigures:
    """Of all metrics that tell what was learned."""
    tokens, rates = run.series.get("train/tokens_seen"), run.series.get("train/tokens_per_second")
    return RunFigures(
        run=run.name,
        folder=str(run.folder),
        status=run.status.life,
        step=run.step,
        max_steps=run.max_steps,
        tokens=None if tokens is None else int(tokens.last),
        seconds=trained_seconds(run.series),
        tokens_per_second=None if rates is None else median(rates.values),
        metrics={name: _figures(name, series) for name, series in run.series.items() if is_learned(name)},
    )


def is_learned(metric: str) -> bool:
    """Whether a metric tells what was learned: losses and evaluations do."""
    return metric.startswith("eval/") or metric.endswith("/loss")


def _figures(metric: str, series: Series) -> MetricFigures:
    step, best = best_of_series(metric, series) or (None, None)
    return MetricFigures(
        first=series.values[0], last=series.last, last_step=series.steps[-1], best=best, best_step=step
    )


@frozen
class Difference:
    """A key of recipes and its value in each; None where it is unset or absent."""

    key: str
    values: tuple[Any, ...]


def recipe_differences(recipes: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Every key whose value is not the same in all, but for the folder that a run is in."""
    keys: dict[str, None] = {}
    for other in recipes[1:]:
        keys |= dict.fromkeys(change.key for change in compare(recipes[0], other))
    keys.pop("trainer.output_dir", None)
    return [Difference(key, tuple(recipe.get(key) for recipe in recipes)) for key in keys]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def steps_text(figures: RunFigures) -> str:
    """``120 of 600``."""
    return f"{figures.step:,}" + ("" if figures.max_steps is None else f" of {figures.max_steps:,}")


def best_of(metric: str, values: Sequence[float | None]) -> int | None:
    """The index of the best value; None where it is not known what is good, or there is nothing to choose between."""
    lowest = named_lowest_best(metric)
    known = {number: value for number, value in enumerate(values) if value is not None and math.isfinite(value)}
    if lowest is None or len(set(known.values())) < 2:
        return None
    return (min if lowest else max)(known, key=lambda number: known[number])
