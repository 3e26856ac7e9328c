"""Tables on a terminal of any width."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

_WIDEST = 1000


def print_whole(console: Console, table: Table) -> None:
    """Prints a table with nothing of it cut: one that is wider than the screen would lose digits otherwise."""
    console.width = max(console.width, console.measure(table, options=console.options.update(width=_WIDEST)).maximum)
    console.print(table)
