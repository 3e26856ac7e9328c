"""Figures of tasks, for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from neobert.evaluation.model import TextModel
from neobert.evaluation.tasks import TaskResult
from neobert.wide import print_whole

CONVERGED = "converged"
"""Of a linear probe; told in a note where it did not."""


def show(console: Console, result: TaskResult) -> None:
    """Prints its table and what there is to say beside it, nothing of it cut or wrapped."""
    table = table_of(result)
    console.print()
    console.print(Text(f"{result.task}: {result.source} ({result.size})", style="bold"), soft_wrap=True)
    print_whole(console, table)
    for note in notes_of(result):
        console.print(Text(note), soft_wrap=True)


def table_of(result: TaskResult) -> Table:
    """A row for each that was asked, a column for each figure."""
    columns = [name for name in dict.fromkeys(_names(result)) if name != CONVERGED]
    table = Table()
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for who, figures in result.figures.items():
        table.add_row(who, *(_shown(figures.get(name)) for name in columns))
    return table


def notes_of(result: TaskResult) -> list[str]:
    """What there is to say beside the figures."""
    stopped = [who for who, figures in result.figures.items() if figures.get(CONVERGED) == 0.0]
    return [*result.notes, *(f"{who}: the linear probe stopped before it converged" for who in stopped)]


def as_json(model: TextModel, results: Sequence[TaskResult]) -> dict[str, Any]:
    """All of it; a figure that is not defined is null."""
    return {
        "model": model.description,
        "similarity": model.similarity,
        "tasks": [
            {
                "task": result.task,
                "source": result.source,
                "size": result.size,
                "results": {who: _plain(figures) for who, figures in result.figures.items()},
                "notes": notes_of(result),
            }
            for result in results
        ],
    }


def _names(result: TaskResult) -> Iterator[str]:
    for figures in result.figures.values():
        yield from figures


def _plain(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _shown(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"
