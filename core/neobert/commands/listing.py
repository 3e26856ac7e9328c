"""``--list-plugins``: what a recipe can name, where it comes from, and whether it can run here."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING, Literal

from attrs import asdict, frozen

from neobert.commands.arguments import UsageError
from neobert.commands.kind import known_kind
from neobert.registry import Broken, Clash, Plugin, Registry, default_registry
from neobert.registry.discovery import installed_entry_points

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from neobert.commands.arguments import Arguments

_UNKNOWN = "-"
_TITLES = ("kind", "name", "distribution", "version", "summary", "status")
_PADDING = 3
"""Columns of a terminal between two cells, at most."""
_NARROWEST = 24
"""Columns that a summary or a status has at least."""
_WIDEST = 10_000
"""Columns of a table that is never cut."""


@frozen
class Row:
    """One plugin, or one fault."""

    kind: str | None
    """None where a broken entry point leaves it unknown."""
    name: str | None
    distribution: str
    version: str
    entry_point: str
    summary: str
    status: Literal["usable", "unusable", "clash", "broken"]
    reason: str | None = None
    install: str | None = None
    requires: tuple[str, ...] = ()

    def columns(self) -> tuple[str, str, str, str, str, str]:
        """Kind, name, distribution, version, summary, status, each on one line and printable."""
        status = self.status if self.reason is None else f"{self.status}: {self.reason}"
        if self.install is not None:
            status = f"{status} ({self.install})"
        name = self.name or self.entry_point
        cells = (self.kind or _UNKNOWN, name, self.distribution, self.version, self.summary, status)
        kind, name, distribution, version, summary, status = map(_one_line, cells)
        return kind, name, distribution, version, summary, status


def run(arguments: Arguments) -> int:
    """Prints the list: a table on a terminal, one tab-separated line a plugin elsewhere, JSON when asked."""
    if "--all" in arguments.given:
        return _print_entry_points(arguments)
    kind = arguments.value("--kind")
    if kind is not None:
        known_kind(kind)
    rows = [row for row in rows_of(default_registry()) if kind is None or row.kind in (None, kind)]
    if "--json" in arguments.given:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    elif sys.stdout.isatty():
        _print_table([row.columns() for row in rows])
    else:
        for row in rows:
            print("\t".join(row.columns()))
    return 0


def _print_entry_points(arguments: Arguments) -> int:
    """What would be imported, with nothing of it imported: a line each, tab-separated everywhere."""
    for flag in ("--kind", "--json"):
        if flag in arguments.given:
            msg = f"{flag} does not go with --all: what kinds a module has is known once it is imported"
            raise UsageError(msg)
    for point in installed_entry_points():
        cells = (point.name, point.module, point.distribution, point.version, point.status)
        print("\t".join(map(_one_line, cells)))
    return 0


def rows_of(registry: Registry) -> Iterator[Row]:
    """Plugins first, then clashes, then what is broken."""
    for plugin in registry.plugins:
        problem = plugin.problem()
        if problem is None:
            yield _row(plugin, "usable", "; ".join(plugin.deprecated) or None)
        else:
            yield _row(plugin, "unusable", problem)
    for clash in registry.clashes:
        for plugin in clash.plugins:
            yield _row(plugin, "clash", _others(clash, plugin))
    for broken in registry.broken:
        yield _broken_row(broken)


def _row(plugin: Plugin, status: Literal["usable", "unusable", "clash"], reason: str | None) -> Row:
    return Row(
        kind=plugin.kind,
        name=plugin.name,
        distribution=plugin.distribution,
        version=plugin.version,
        entry_point=plugin.entry_point,
        summary=plugin.summary,
        status=status,
        reason=reason,
        install=plugin.install(),
        requires=plugin.requires,
    )


def _broken_row(broken: Broken) -> Row:
    source = broken.source
    return Row(
        kind=broken.kind,
        name=broken.name,
        distribution=source.distribution,
        version=source.version,
        entry_point=source.entry_point,
        summary="",
        status="broken",
        reason=broken.error if broken.name is None else f"{broken.error} (entry point {source.entry_point})",
    )


def _others(clash: Clash, plugin: Plugin) -> str:
    others = [f"{other.source} ({other.entry_point})" for other in clash.plugins if other is not plugin]
    return f"the same name comes from {' and '.join(others)}"


def _one_line(text: str) -> str:
    return "".join(mark if mark.isprintable() else "?" for mark in " ".join(text.split()))


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Summaries and reasons fold between words; names, distributions and requirements stay whole, even where that
    takes more columns than the terminal has. What plugins say is text, not markup."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    table = Table(*_TITLES, box=box.SIMPLE, pad_edge=False)
    whole = sum(max(map(len, cells)) for cells in list(zip(_TITLES, *rows, strict=True))[:4])
    room = console.width - whole - _PADDING * len(_TITLES)
    for *names, summary, status in rows:
        folded = (_fold(summary, room // 2), _fold(status, room // 2))
        table.add_row(*map(Text, (*names, *folded)))
    console.width = _WIDEST
    console.print(table)


def _fold(text: str, width: int) -> str:
    return textwrap.fill(text, max(width, _NARROWEST), break_long_words=False, break_on_hyphens=False)
