"""Figures of tasks, for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from neobert.evaluation.models import Models
from neobert.evaluation.tasks import TaskResult
from neobert.wide import print_whole

CONVERGED = "converged"
"""Of a linear probe; told in a note where it did not."""
PARTS_SHOWN = 20
"""Texts with figures of their own that are shown; a JSON file has all."""
COUNTS = ("tokens", "windows")
"""Figures of a text that are whole numbers."""
_TEXT_SHOWN = 60


def show(console: Console, result: TaskResult) -> None:
    """Prints its table and what there is to say beside it, nothing of it cut or wrapped."""
    console.print()
    console.print(Text(f"{result.task}: {result.source} ({result.size})", style="bold"), soft_wrap=True)
    print_whole(console, table_of(result))
    if result.parts:
        print_whole(console, _parts_table(result))
    for note in notes_of(result):
        console.print(Text(note), soft_wrap=True)


def _parts_table(result: TaskResult) -> Table:
    """A row for each of the first texts."""
    shown = result.parts[:PARTS_SHOWN]
    columns = list(dict.fromkeys(name for part in shown for name in part.figures))
    more = f" (the first {len(shown)} of {len(result.parts):,}; --output FILE has all)"
    table = Table(title="text by text" + more * (len(shown) < len(result.parts)), title_justify="left")
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for part in shown:
        text = " ".join(part.text.split())
        beginning = text if len(text) <= _TEXT_SHOWN else f"{text[: _TEXT_SHOWN - 3]}..."
        cells = (
            _count(part.figures.get(name)) if name in COUNTS else _shown(part.figures.get(name)) for name in columns
        )
        table.add_row(Text(beginning), *cells)
    return table


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


def as_json(models: Models, results: Sequence[TaskResult]) -> dict[str, Any]:
    """All of it; a figure that is not defined is null."""
    similarity = models.similarity
    return {
        "model": models.description,
        **({} if similarity is None else {"similarity": similarity}),
        "tasks": [_task_json(result) for result in results],
    }


def _task_json(result: TaskResult) -> dict[str, Any]:
    return {
        "task": result.task,
        "source": result.source,
        "size": result.size,
        "results": {who: _plain(figures) for who, figures in result.figures.items()},
        "notes": notes_of(result),
        **({"texts": [{"text": part.text, **_plain(part.figures)} for part in result.parts]} if result.parts else {}),
    }


def _names(result: TaskResult) -> Iterator[str]:
    for figures in result.figures.values():
        yield from figures


def _plain(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _shown(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
