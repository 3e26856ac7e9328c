"""Runs side by side, on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from neobert.report.figures import Difference, RunFigures, best_of, steps_text
from neobert.report.numbers import NOTHING, duration, figure, whole
from neobert.toml_text import toml_text
from neobert.wide import print_whole


def show(
    console: Console, figures: Sequence[RunFigures], differences: Sequence[Difference], notes: Sequence[str]
) -> None:
    """Prints both tables, nothing of them cut; text of users is never parsed as markup."""
    print_whole(console, _table("", [it.run for it in figures], [*_rows(figures)]))
    console.print(Text("time: of the logged steps, without evaluating and saving; tokens/s: median of the log lines"))
    for note in notes:
        console.print(Text(note), soft_wrap=True)
    console.print()
    if not differences:
        console.print("the recipes do not differ, but for trainer.output_dir")
        return
    rows = [[Text(it.key), *(Text(value_text(value)) for value in it.values)] for it in differences]
    print_whole(console, _table("recipe", [it.run for it in figures], rows))


def value_text(value: Any) -> str:
    """A value of a recipe."""
    return "unset" if value is None else toml_text(value)


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[Text]]) -> Table:
    table = Table()
    table.add_column(Text(title), no_wrap=True)
    for name in names:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _rows(figures: Sequence[RunFigures]) -> Iterator[list[Text]]:
    facts: dict[str, Callable[[RunFigures], str]] = {
        "status": lambda it: it.status,
        "steps": steps_text,
        "tokens": lambda it: whole(it.tokens),
        "time": lambda it: duration(it.seconds),
        "tokens/s": lambda it: whole(it.tokens_per_second),
    }
    for name, said in facts.items():
        yield [Text(name), *(Text(said(it)) for it in figures)]
    for metric in dict.fromkeys(name for it in figures for name in it.metrics):
        found = [it.metrics.get(metric) for it in figures]
        last = [None if it is None else it.last for it in found]
        yield _metric(metric, metric, last, [figure(metric, value) for value in last])
        best = [None if it is None else it.best for it in found]
        if any(it is not None and it.best is not None and it.best_step != it.last_step for it in found):
            cells = [
                NOTHING if it is None or it.best is None else f"{figure(metric, it.best)} at {it.best_step:,}"
                for it in found
            ]
            yield _metric("  at its best", metric, best, cells)


def _metric(title: str, metric: str, values: Sequence[float | None], cells: Sequence[str]) -> list[Text]:
    best = best_of(metric, values)
    styles = ["bold" if number == best else "" for number in range(len(cells))]
    return [Text(title), *(Text(cell, style=style) for cell, style in zip(cells, styles, strict=True))]
